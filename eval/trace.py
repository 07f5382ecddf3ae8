"""What a tool keeps of a video while it is scored: boxes, shots, tracks, curves and crop files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipscore.faces.scan import Faces
from lipscore.metrics import lse
from lipscore.types import Floats, Shot, SyncCurve, Track, TrackScore

# What a model's raw confidence is multiplied by, to be of the size of SyncNet's
SCALES = {"mini": 30.0}
WINDOW_CENTRE = 2  # a window's numbers are those of the third of its five frames


@dataclass(frozen=True, slots=True)
class TracedTrack:
    """A scored track.

    track: None where the protocol takes the file itself as the crop. scores: the (LSE-D, LSE-C) that the track's pass
    reads from a curve; another version's curve can be read as this track's. model: the one that scored, which decides
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

        It is that of the window that has the frame in its middle; the frames at both ends take the nearest one's. A
        model with distances of its own has one factor for all tracks, so that two faces can be compared.
        """
        by_window = lse.framewise_confidence(self.curve.distances, self.curve.mean)
        known = np.flatnonzero(~np.isnan(by_window))
        n_frames = self.score.last_frame - self.score.first_frame + 1
        confidence = np.interp(np.arange(n_frames) - WINDOW_CENTRE, known, by_window[known])
        return np.asarray(confidence * SCALES.get(self.model, 1.0), np.float32)


class Trace:
    """Filled by `score_video` as it goes.

    Args:
        on_crop: called with each track and its crop file (frames and audio) before the file is deleted; only protocols
            that write crop files call it.

    Attributes:
        faces: the boxes of every frame; None where the protocol looks for no face, or before that stage.
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
        """The tracks that have a score, by number."""
        return sorted((kept for kept in self._tracks if kept.score.n_windows), key=lambda kept: kept.score.track_id)
