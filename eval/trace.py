"""Intermediate results of a video: boxes, shots, tracks, curves and crop files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipscore.faces.scan import Faces
from lipscore.metrics import lse
from lipscore.types import Floats, Shot, SyncCurve, Track, TrackScore

# The factor that brings a model's raw confidence to the scale of SyncNet's. mini: published LSE-C per median minus
# minimum of the curve, the median over held-out clips (28.0 to 30.6), each by towers that never met it
SCALES = {"mini": 29.3}
WINDOW_CENTRE = 2  # a window's value belongs to the third of its five frames


@dataclass(frozen=True, slots=True)
class TracedTrack:
    """A scored track.

    track: None if the protocol uses the file itself as the crop. scores: the pass's function from a curve to (LSE-D,
    LSE-C), which also accepts the curve of another version of the track. model: the model that scored, which decides
    the confidence's scale.
    """

    track: Track | None
    score: TrackScore
    curve: SyncCurve
    scores: Callable[[SyncCurve], tuple[float, float]]
    model: str = "vgg"

    @property
    def confidence(self) -> Floats:
        """float32[last_frame - first_frame + 1]: the framewise confidence of each frame.

        A frame takes the value of the window around it; frames at both ends take that of the nearest window. For a
        model with distances of its own, one factor scales all tracks, so that two faces can be compared.
        """
        by_window = lse.framewise_confidence(self.curve.distances, self.curve.mean)
        known = np.flatnonzero(~np.isnan(by_window))
        n_frames = self.score.last_frame - self.score.first_frame + 1
        confidence = np.interp(np.arange(n_frames) - WINDOW_CENTRE, known, by_window[known])
        return np.asarray(confidence * SCALES.get(self.model, 1.0), np.float32)


class Trace:
    """Collects intermediate results; `score_video` fills it.

    Args:
        on_crop: under protocols that write crop files, called with each track and its crop file (frames and audio)
            before the file is deleted.

    Attributes:
        faces: the boxes of every frame; None before that stage, or if the protocol needs no faces.
        shots: the video's shots.
    """

    def __init__(self, on_crop: Callable[[Track, Path], None] | None = None) -> None:
        self.faces: Faces | None = None
        self.shots: tuple[Shot, ...] = ()
        self.on_crop = on_crop
        self._tracks: list[TracedTrack] = []

    def add(self, track: TracedTrack) -> None:
        """Keep a scored track."""
        self._tracks.append(track)

    @property
    def tracks(self) -> list[TracedTrack]:
        """The scored tracks, ordered by number."""
        return sorted((kept for kept in self._tracks if kept.score.n_windows), key=lambda kept: kept.score.track_id)
