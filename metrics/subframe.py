"""The offset between frames, in milliseconds: the vertex of the parabola through the curve's minimum and neighbours.

A parabola through the minimum and its two neighbours is the usual estimate between samples (J. O. Smith, "Spectral
Audio Signal Processing", quadratic interpolation of peaks). docs/commands/table.md has its error on real people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipscore.types import Floats, TrackScore

MS_PER_SHIFT = 40.0  # a shift moves the audio by four MFCC frames of 10 ms, whatever the video's frame rate


def offset_ms(curve: Floats) -> float:
    """The offset of a curve float32[2 * vshift + 1] in milliseconds, positive where the audio comes before the video.

    At the edge of the curve, or next to a shift without a value (NaN), it is the best shift itself.

    Raises:
        ValueError: the curve has no value at all.
    """
    if np.isnan(curve).all():
        raise ValueError("a curve without any distance has no offset")
    best = int(np.nanargmin(curve))
    return (len(curve) // 2 - best - _vertex(curve, best)) * MS_PER_SHIFT


def _vertex(curve: Floats, best: int) -> float:
    """The distance from `best` to the lowest point of the parabola, in shifts: at most half a shift."""
    if not 0 < best < len(curve) - 1:
        return 0.0
    before, lowest, after = (float(value) for value in curve[best - 1 : best + 2])
    bend = before - 2 * lowest + after
    if not bend > 0:  # NaN, or three equal values
        return 0.0
    return (before - after) / 2 / bend


def reduce_ms(tracks: Sequence[TrackScore], most_confident: TrackScore, rule: str) -> float | None:
    """A video's offset in milliseconds from its tracks, by the protocol's `reduce`; None if a track has none.

    It is the most confident track's, except under mean_offset, where it is the mean.
    """
    counted = list(tracks) if rule == "mean_offset" else [most_confident]
    found = [track.offset_ms for track in counted if track.offset_ms is not None]
    return sum(found) / len(found) if len(found) == len(counted) else None
