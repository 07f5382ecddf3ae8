"""Run a face detector over a video: choose the frames that it looks at, and derive boxes for every frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lipscore.faces.boxes import LINK_IOU, bridge, densify, link, sample_indices, steady, without_weak
from lipscore.media.decode.passes import FrameSource
from lipscore.pool import Pool
from lipscore.types import Detection, Detector, Shot


@dataclass(frozen=True, slots=True)
class Faces:
    """The boxes of every frame, and the number of frames that the detector looked at."""

    boxes: tuple[tuple[Detection, ...], ...]
    looked_at: int


def scan(source: FrameSource, shots: Sequence[Shot], detector: Detector, pool: Pool) -> Faces:
    """Run the detector over a video.

    A detector with a stride looks at every stride-th frame, and boxes in between are interpolated. If a face in one
    sampled frame has no successor in the next, the detector looks at every frame between the two. If the detector has a
    `bridge`, short gaps are filled and boxes are median-filtered.
    """
    detected, count = _detect(source, sample_indices(shots, detector.stride), detector, pool)
    if detector.stride == 1:
        boxes = [detected.get(number, []) for number in range(count)]
    else:
        if broken := broken_gaps(detected, shots):
            detected |= _detect(source, broken, detector, pool)[0]
        boxes = densify(detected, shots, count)
    if detector.bridge:
        boxes = steady(bridge(boxes, shots, detector.bridge), shots)
    if detector.doubtful[0]:
        boxes = without_weak(boxes, shots, *detector.doubtful)
    return Faces(tuple(tuple(frame) for frame in boxes), len(detected))


def broken_gaps(detected: Mapping[int, Sequence[Detection]], shots: Sequence[Shot]) -> list[int]:
    """The frames between neighbouring samples of a shot whose boxes cannot all be linked.

    Args:
        detected: frame number -> its boxes, for each sample.
    """
    frames: list[int] = []
    for shot in shots:
        for first, last in pairwise(frame for frame in range(shot.start, shot.end) if frame in detected):
            links = link(detected[first], detected[last], LINK_IOU)
            if len(links) < max(len(detected[first]), len(detected[last])):
                frames += range(first + 1, last)
    return frames


def _detect(
    source: FrameSource, numbers: Sequence[int], detector: Detector, pool: Pool
) -> tuple[dict[int, list[Detection]], int]:
    """(the boxes of these frames, the number of frames in the video).

    Each pool thread unpacks the frames of its batch one by one, as the detector takes them.
    """
    wanted = set(numbers)
    detected: dict[int, list[Detection]] = {}
    count = 0

    def batches() -> Iterator[list[tuple[int, Any]]]:
        nonlocal count
        batch: list[tuple[int, Any]] = []
        for number, packed in enumerate(source.packed()):
            count = number + 1
            if number in wanted:
                batch.append((number, packed))
                if len(batch) == detector.batch_size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def detect_batch(batch: list[tuple[int, Any]]) -> list[tuple[int, list[Detection]]]:
        indices = [number for number, _ in batch]
        return list(zip(indices, detector((source.unpack(packed) for _, packed in batch), indices), strict=True))

    for boxes in pool.spread(detect_batch, batches()):
        detected.update(boxes)
    return detected, count
