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
    """A constant box in place of a detector's: rows top ... bottom - 1, columns left ... right - 1."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Options:
    """inference.py's options, and what lipscore adds to them.

    fps: of a still image, default 25. missing: what a frame without a face means: "error" refuses the video, as the
    original does, "keep" leaves the frame as it is, "interpolate" puts its box between its neighbours'. same_person:
    with "keep", the measure that tells another's face. shorter: a picture that ends before the sound starts "again"
    (inference.py), is "refuse"d or "stretch"ed by repeating frames evenly (the evaluation scripts). last_chunk: a frame
    more, for the sound's last 0.2 s (inference.py only). fixed_fps: the picture's frames are taken to come at this rate
    whatever the file says. face_px: frames shrink by the largest whole number up to which the first face comes nearer
    to so many pixels than it is, while their shorter side stays at least least_side (real_videos_inference.py).

    Raises:
        UsageError: a value is none of its choices, or out of range.
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
            raise UsageError.about("pads", spaced(self.pads), "give numbers of pixels from 0 on")
        if self.box is not None and not (0 <= self.box.top < self.box.bottom and 0 <= self.box.left < self.box.right):
            raise UsageError.about("box", spaced(self.box), "give top < bottom and left < right, from 0 on")
