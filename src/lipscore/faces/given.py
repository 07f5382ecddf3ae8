"""Face boxes from files instead of a detector: a folder with a STEM.json per video.

A file holds a list per frame, at the protocol's frame rate, of rows [x1, y1, x2, y2, score] in source pixels. Ten more
numbers are the x and y of five points, in the order of `lipscore.types.Detection.points`. Every box counts, whatever
its score. The order in the file matters, because the tracker walks the boxes in that order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lipscore.errors import MediaError, MissingError
from lipscore.types import Detection, Frame

LARGEST_SIDE = 4  # of a box, in sides of the frame
LARGEST = 1e6  # a coordinate in pixels or a score: beyond it nothing is meant
WITH_POINTS = 15  # numbers of a row that has five points
SHAPE = "a list per frame of rows [x1, y1, x2, y2, score]"


class GivenBoxes:
    """Boxes from a folder, or from a single file for one video.

    Raises:
        MissingError: the path is neither a folder nor a file.
    """

    def __init__(self, folder: Path) -> None:
        self._stem: str | None = None
        if not folder.is_dir() and not folder.is_file():
            raise MissingError.about("detections", folder, "not a folder; name one that contains a STEM.json per video")
        self.folder = folder

    def for_video(self, video: Path) -> GivenDetector:
        """The boxes of a video, from the file with its stem.

        Raises:
            MediaError: the single file was used for another video; or the file is missing, cannot be read, or does not
                hold a list per frame of rows of 5 or 15 numbers (the message names the frame and the row).
        """
        if self.folder.is_dir():
            return read_boxes(self.folder / f"{video.stem}.json")
        if self._stem not in (None, video.stem):
            raise MediaError(f"{self.folder}: a file of boxes is for one video; give a folder with {video.stem}.json")
        self._stem = video.stem
        return read_boxes(self.folder)


@dataclass(frozen=True, slots=True)
class GivenDetector:
    """One video's boxes as a `lipscore.types.Detector`; it uses only the size of the frames."""

    path: Path
    boxes: tuple[tuple[Detection, ...], ...]
    name: str = "given"
    stride: int = 1
    bridge: int = 0
    doubtful: tuple[float, float] = (0.0, 0.0)
    batch_size: int = 2
    turn: ClassVar[AbstractContextManager[object]] = nullcontext()

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        """The boxes of these frame numbers.

        Raises:
            MediaError: the video has more frames than the file has lists, or a box lies outside its frame: the boxes
                may be another video's, or made at another frame rate.
        """
        if indices and max(indices) >= len(self.boxes):
            raise MediaError(
                f"{self.path}: boxes for {len(self.boxes)} frames, but the video has more at the protocol's frame "
                f"rate; write a list for every frame, an empty one for frames without a face"
            )
        for frame, index in zip(frames, indices, strict=True):
            for box in self.boxes[index]:
                self._check(box, *frame.shape[:2])
        return [list(self.boxes[index]) for index in indices]

    def _check(self, box: Detection, height: int, width: int) -> None:
        """Raise MediaError for a box that cannot be of this video."""
        x1, y1, x2, y2 = box.box_xyxy.tolist()
        where = f"{self.path}: frame {box.frame}: the box {[x1, y1, x2, y2]}"
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise MediaError(f"{where} lies outside the frame of {width}x{height}; are the boxes another video's?")
        if max(x2 - x1, y2 - y1) > LARGEST_SIDE * max(width, height):
            raise MediaError(
                f"{where} is more than {LARGEST_SIDE} times as large as the frame of {width}x{height}; "
                "are the boxes another video's?"
            )


def read_boxes(path: Path) -> GivenDetector:
    """The boxes in a file; raises MediaError as `GivenBoxes.for_video` does."""
    try:
        if path.exists() and not path.is_file():
            raise MediaError(f"{path}: is not a regular file; {SHAPE} is expected in JSON")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MediaError(f"{path}: no such file; the video needs {SHAPE} there") from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MediaError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, list):
        raise MediaError(f"{path}: {_kind(content)} where {SHAPE} is expected")
    return GivenDetector(path, tuple(_frame(path, number, rows) for number, rows in enumerate(content)))


def _frame(path: Path, number: int, rows: Any) -> tuple[Detection, ...]:
    if not isinstance(rows, list):
        raise MediaError(f"{path}: frame {number}: {_kind(rows)} where a list of rows is expected")
    return tuple(_row(f"{path}: frame {number}, row {place}", number, row) for place, row in enumerate(rows))


def _row(where: str, number: int, row: Any) -> Detection:
    numbers = isinstance(row, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in row)
    # a whole number of 400 digits is JSON, but no float: compared, it is only large
    if not numbers or len(row) not in (5, WITH_POINTS) or not all(-LARGEST <= v <= LARGEST for v in row):
        raise MediaError(
            f"{where}: {json.dumps(row)[:80]} where [x1, y1, x2, y2, score] is expected, with or without five points"
        )
    x1, y1, x2, y2, score = row[:5]
    if x2 <= x1 or y2 <= y1:
        raise MediaError(f"{where}: the box {[x1, y1, x2, y2]} has no area; x1 < x2 and y1 < y2 are expected")
    points = np.array(row[5:], np.float32).reshape(5, 2) if len(row) == WITH_POINTS else None
    return Detection(number, np.array([x1, y1, x2, y2], np.float32), float(score), points)


def _kind(value: Any) -> str:
    return {dict: "an object", str: "a string", type(None): "null"}.get(type(value), json.dumps(value)[:40])
