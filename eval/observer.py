"""What the scoring of a video shows on its way, for the tools that need more than its record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lipscore.faces.scan import Faces
from lipscore.types import Shot, SyncCurve, Track, TrackScore


class Observer:
    """Told of each stage as a video is scored; each method does nothing until it is overridden.

    The calls come in the order of the methods, `stage` in between, `crop_file` and `scored` once per track. A protocol
    that takes the file itself as the crop calls neither `faces` nor `crop_file`.
    """

    def stage(self, name: str) -> None:
        """A stage begins: probe, transcode, shots, faces, tracks, crops, embed or reference; stages may recur."""

    def working(self) -> None:
        """Called again and again while a stage goes over the frames; may raise to break the video off."""

    def faces(self, faces: Faces, shots: Sequence[Shot]) -> None:
        """The boxes of every frame, and the shots."""

    def crop_file(self, track: Track, path: Path) -> None:
        """A track's crop file (frames and audio), where the protocol writes one; it is deleted after the call."""

    def scored(self, track: Track | None, score: TrackScore, curve: SyncCurve) -> None:
        """A track's numbers and curve; no track where the file is the crop."""
