"""The options of a generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lipscore.errors import UsageError
from lipscore.generate.wav2lip.faces.boxes import Pads
from lipscore.generate.wav2lip.faces.person import MEASURES
from lipscore.generate.wav2lip.faces.picture import Framing, spaced
from lipscore.generate.wav2lip.write import CODECS

MISSING = ("error", "keep", "interpolate")
SHORTER = ("again", "refuse", "stretch")


class Box(NamedTuple):
    """A constant box instead of a detector's: rows top ... bottom - 1, columns left ... right - 1."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Options:
    """inference.py's options, and what lipscore adds to them.

    fps: the frame rate of a still image, default 25. missing: how a frame without a face is treated: "error" refuses
    the video, as the original does, "keep" leaves the frame unchanged, "interpolate" interpolates its box. same_person:
    with "keep", the measure that recognises another person's face. shorter: a picture that ends before the sound starts
    "again" (inference.py), is "refuse"d, or is "stretch"ed by repeating frames evenly (the evaluation scripts).
    last_chunk: whether to add a frame for the sound's last 0.2 s (only inference.py does). fixed_fps: the picture's
    frame rate, whatever the file says. face_px: frames are shrunk by the largest whole factor that still brings the
    first face nearer to this size, while their shorter side stays at least least_side (real_videos_inference.py).

    Raises:
        UsageError: a value is not one of its choices, or is out of range.
    """

    pads: Pads = field(default_factory=Pads)
    box: Box | None = None
    framing: Framing = field(default_factory=Framing)
    static: bool = False
    smooth: bool = True
    fps: float | None = None
    missing: str = "error"
    same_person: str = "appearance"
    codec: str = "original"
    shorter: str = "again"
    last_chunk: bool = True
    fixed_fps: float | None = None
    face_px: int | None = None
    least_side: int = 480

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("missing", self.missing, MISSING),
            ("same_person", self.same_person, MEASURES),
            ("codec", self.codec, CODECS),
            ("shorter", self.shorter, SHORTER),
        ):
            if value not in choices:
                raise UsageError.about(name, value, f"no such choice; use one of {', '.join(choices)}")
        if min(self.pads) < 0:
            raise UsageError.about("pads", spaced(self.pads), "give numbers of pixels of 0 or more")
        if self.box is not None and not (0 <= self.box.top < self.box.bottom and 0 <= self.box.left < self.box.right):
            raise UsageError.about("box", spaced(self.box), "give top < bottom and left < right, all 0 or more")
