"""Read the frames that receive the lips from a video or a still image, and shrink, turn and crop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lipscore.errors import MediaError, UsageError
from lipscore.media import read
from lipscore.types import Frame

STILL_FPS = Fraction(25)


class Crop(NamedTuple):
    """Rows top ... bottom - 1 and columns left ... right - 1; -1 at bottom or right: to the edge."""

    top: int = 0
    bottom: int = -1
    left: int = 0
    right: int = -1


@dataclass(frozen=True, slots=True)
class Framing:
    """The changes to every frame, in this order: shrink, turn by 90 degrees clockwise, crop.

    shorter_side: frames with a longer shorter side are first shrunk to this many pixels (the evaluation script for real
    videos). resize_factor: the whole number by which both sides are then divided.
    """

    resize_factor: int = 1
    rotate: bool = False
    crop: Crop = field(default_factory=Crop)
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        if self.resize_factor < 1:
            raise UsageError.about("resize_factor", self.resize_factor, "give a whole number of 1 or more")

    def __call__(self, frame: Frame) -> Frame:
        """The changed frame, which the detector and the network get.

        Raises:
            UsageError: nothing of the frame is left.
        """
        height, width = frame.shape[:2]
        if self.shorter_side is not None and min(height, width) > self.shorter_side:
            factor = min(height, width) / float(self.shorter_side)
            frame = _resized(frame, int(width / factor), int(height / factor))
        if self.resize_factor > 1:
            height, width = frame.shape[:2]
            if min(width, height) < self.resize_factor:
                raise UsageError.about(
                    "resize_factor", self.resize_factor, f"leaves nothing of a frame of {width}x{height}"
                )
            frame = _resized(frame, width // self.resize_factor, height // self.resize_factor)
        if self.rotate:
            frame = cv2.rotate(frame, cv2.ROTATE_90_CLOCKWISE)  # type: ignore[assignment]
        height, width = frame.shape[:2]
        top, bottom, left, right = self.crop
        cut = frame[top : height if bottom == -1 else bottom, left : width if right == -1 else right]
        if not cut.size:
            raise UsageError.about("crop", spaced(self.crop), f"leaves nothing of a frame of {width}x{height}")
        return cut


@dataclass(frozen=True, slots=True)
class Picture:
    """The opened file that --face names. fps: a video's own rate, or the rate that a still image gets."""

    path: Path
    sha256: str
    still: bool
    fps: Fraction

    def raw(self, limit: int) -> Iterator[Frame]:
        """The file's own frames, in order, at most `limit`; a still image is one frame.

        Raises:
            MediaError: it cannot be decoded.
        """
        if self.still:
            yield _image(self.path)
            return
        yield from islice(read.frames_at(self.path, None), limit)


def open_picture(path: Path, fps: float | None = None) -> Picture:
    """Open a video or a still image; the content decides which of them it is, not the name.

    Args:
        fps: frames per second of a still image; default 25.

    Raises:
        UsageError: fps is given for a video, which has its own, or is not above 0.
        MediaError: the file is neither, or cannot be read.
    """
    if fps is not None and not fps > 0:
        raise UsageError.about("fps", f"{fps:g}", "give a number above 0")
    sha256 = read.file_sha256(path)
    if is_image(path):
        _image(path)
        return Picture(path, sha256, True, STILL_FPS if fps is None else Fraction(fps).limit_denominator(100_000))
    info = read.probe(path)
    if fps is not None:
        raise UsageError.about(
            "fps", f"{fps:g}", f"only for a still image; {path} is a video of {float(info.fps):g} fps"
        )
    return Picture(path, sha256, False, info.fps)


def is_image(path: Path) -> bool:
    """Whether OpenCV reads a file as a still image; an animated GIF counts as a video, an APNG is one frame."""
    with path.open("rb") as file:
        if file.read(4) == b"GIF8":
            return False
    return bool(cv2.haveImageReader(str(path)))


def spaced(numbers: Sequence[int]) -> str:
    """Numbers in the form of the command line."""
    return " ".join(map(str, numbers))


def _image(path: Path) -> Frame:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise MediaError(f"{path}: the image cannot be read ({error})") from error
    if image is None:
        raise MediaError(f"{path}: the image cannot be decoded; is the file complete?")
    return image  # type: ignore[return-value]


def _resized(frame: Frame, width: int, height: int) -> Frame:
    return cv2.resize(frame, (width, height))  # type: ignore[return-value]
