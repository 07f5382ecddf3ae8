"""An observer that keeps what a tool writes down of a video: its boxes, its tracks and their distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipscore.eval.observer import Observer
from lipscore.faces.scan import Faces
from lipscore.metrics import lse
from lipscore.types import Floats, Shot, SyncCurve, Track, TrackScore

WINDOW_CENTRE = 2  # a window's numbers are those of the third of its five frames


@dataclass(frozen=True, slots=True)
class KeptTrack:
    """A scored track; track is None where the file is the crop."""

    track: Track | None
    score: TrackScore
    curve: SyncCurve

    @property
    def confidence(self) -> Floats:
        """float32[last_frame - first_frame + 1]: the framewise confidence of each frame.

        It is that of the window that has the frame in its middle; the frames at both ends take the nearest one's. With
        a model that estimates SyncNet's LSE-C it is brought to that scale.
        """
        by_window = lse.framewise_confidence(self.curve.distances, self.curve.mean)
        known = np.flatnonzero(~np.isnan(by_window))
        n_frames = self.score.last_frame - self.score.first_frame + 1
        confidence = np.interp(np.arange(n_frames) - WINDOW_CENTRE, known, by_window[known])
        raw = lse.sync_of(self.curve.mean).lse_c
        return np.asarray(confidence * (self.score.lse_c / raw if raw > 0 else 1), np.float32)


class Keeper(Observer):
    """Keeps the boxes of every frame, the shots and the scored tracks.

    on_crop is given each track's crop file before it is deleted.

    Args:
        on_stage: told the name of each stage that begins.
    """

    def __init__(self, on_stage: Callable[[str], None] | None = None) -> None:
        self.boxes: Faces | None = None
        self.shots: tuple[Shot, ...] = ()
        self.on_crop: Callable[[Track, Path], None] | None = None
        self._tracks: list[KeptTrack] = []
        self._on_stage = on_stage

    @property
    def tracks(self) -> list[KeptTrack]:
        """The tracks that have a score, by number."""
        return sorted((kept for kept in self._tracks if kept.score.n_windows), key=lambda kept: kept.score.track_id)

    def stage(self, name: str) -> None:
        """Pass it on."""
        if self._on_stage is not None:
            self._on_stage(name)

    def faces(self, faces: Faces, shots: Sequence[Shot]) -> None:
        """Keep them."""
        self.boxes, self.shots = faces, tuple(shots)

    def crop_file(self, track: Track, path: Path) -> None:
        """Pass it on."""
        if self.on_crop is not None:
            self.on_crop(track, path)

    def scored(self, track: Track | None, score: TrackScore, curve: SyncCurve) -> None:
        """Keep them."""
        self._tracks.append(KeptTrack(track, score, curve))
