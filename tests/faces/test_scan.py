"""Which frames a detector sees, and what becomes of its boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import numpy as np
import pytest

from lipscore.faces.scan import scan
from lipscore.media.decode.passes import FrameSource
from lipscore.pool import Pool
from lipscore.types import Detection, Frame, Shot

N = 60
SOURCE = FrameSource(lambda: iter(range(N)), lambda number: np.full((2, 2, 3), number, np.uint8))


class Walker:
    """A detector of a box that walks a pixel a frame and is gone from `gone` on; remembers what it was shown."""

    name = "walker"
    bridge, doubtful, batch_size, turn = 0, (0.0, 0.0), 3, nullcontext()

    def __init__(self, stride: int, gone: int = N) -> None:
        self.stride, self.gone = stride, gone
        self.seen: list[int] = []

    def __call__(self, frames: Iterable[Frame], indices: Sequence[int]) -> list[list[Detection]]:
        assert [int(frame[0, 0, 0]) for frame in frames] == list(indices)
        self.seen += indices
        return [self.box(index) if index < self.gone else [] for index in indices]

    def box(self, index: int) -> list[Detection]:
        return [Detection(index, np.array([index, 0, index + 50, 50], np.float32), 1.0)]


@pytest.mark.parametrize("stride", [1, 4, 7, 25])
def test_a_steady_face_is_found_in_every_frame(stride: int) -> None:
    detector = Walker(stride)
    faces = scan(SOURCE, [Shot(0, 33), Shot(33, N)], detector, Pool(2))
    assert len(faces.boxes) == N
    for index, boxes in enumerate(faces.boxes):
        assert np.allclose([box.box_xyxy for box in boxes], [detector.box(index)[0].box_xyxy])
    assert faces.looked_at == len(detector.seen) <= 2 * (N // stride // 2 + 2)
    assert {0, 32, 33, N - 1} <= set(detector.seen)


def test_every_frame_is_looked_at_where_a_track_breaks() -> None:
    detector = Walker(10, gone=37)
    faces = scan(SOURCE, [Shot(0, N)], detector, Pool(2))
    assert [len(boxes) for boxes in faces.boxes] == [1] * 37 + [0] * 23
    assert set(range(30, 41)) <= set(detector.seen)
    assert not {1, 21, 41} & set(detector.seen)


def test_frames_beyond_the_shots_are_not_looked_at() -> None:
    detector = Walker(1)
    faces = scan(SOURCE, [Shot(0, N - 1)], detector, Pool(2))
    assert (len(faces.boxes), max(detector.seen)) == (N, N - 2)


def test_a_detector_that_bridges_has_its_gaps_filled_and_its_boxes_steadied() -> None:
    class Flipping(Walker):
        bridge = 6

        def box(self, index: int) -> list[Detection]:
            if 20 <= index < 26:
                return []
            x, side = (index, 50) if index % 7 else (index + 15, 20)
            return [Detection(index, np.array([x, 50 - side, x + side, 50], np.float32), 1.0)]

    faces = scan(SOURCE, [Shot(0, N)], Flipping(1), Pool(2))
    assert [len(boxes) for boxes in faces.boxes] == [1] * N
    for index, (box,) in enumerate(faces.boxes[5:-5], 5):
        assert np.abs(box.box_xyxy - [index, 0, index + 50, 50]).max() <= 2
