"""The pass over a video that looks for faces: which frames the detector sees, and boxes for every frame out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lipscore.faces.boxes import LINK_IOU, bridge, densify, link, sample_indices, steady
from lipscore.media.passes import FrameSource
from lipscore.pool import Pool
from lipscore.types import Detection, Detector, Shot


@dataclass(frozen=True, slots=True)
class Faces:
    """What the scan found: the boxes of every frame, and how many frames the detector looked at."""

    boxes: tuple[tuple[Detection, ...], ...]
    looked_at: int


def scan(source: FrameSource, shots: Sequence[Shot], detector: Detector, pool: Pool) -> Faces:
    """Run the detector over the frames that it wants.

    A detector with a stride sees every stride-th frame; boxes in between are interpolated, and where a face of one
    sample does not go on in the next, every frame between the two is looked at. A detector that bridges has its boxes
    steadied.
    """
    found, count = _look(source, sample_indices(shots, detector.stride), detector, pool)
    if detector.stride == 1:
        boxes = [found.get(number, []) for number in range(count)]
    else:
        if broken := broken_gaps(found, shots):
            found |= _look(source, broken, detector, pool)[0]
        boxes = densify(found, shots, count)
    if detector.bridge:
        boxes = steady(bridge(boxes, shots, detector.bridge), shots)
    return Faces(tuple(tuple(frame) for frame in boxes), len(found))


def broken_gaps(found: Mapping[int, Sequence[Detection]], shots: Sequence[Shot]) -> list[int]:
    """The frames between neighbouring samples of a shot whose boxes do not all link up."""
    frames: list[int] = []
    for shot in shots:
        for first, last in pairwise(frame for frame in range(shot.start, shot.end) if frame in found):
            links = link(found[first], found[last], LINK_IOU)
            if len(links) < max(len(found[first]), len(found[last])):
                frames += range(first + 1, last)
    return frames


def _look(
    source: FrameSource, numbers: Sequence[int], detector: Detector, pool: Pool
) -> tuple[dict[int, list[Detection]], int]:
    """Boxes of these frames, and how many frames the video has.

    Each thread of the pool unpacks the frames of its batch one by one, as the detector takes them.
    """
    wanted = set(numbers)
    found: dict[int, list[Detection]] = {}
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

    def looked(batch: list[tuple[int, Any]]) -> list[tuple[int, list[Detection]]]:
        indices = [number for number, _ in batch]
        return list(zip(indices, detector((source.unpack(packed) for _, packed in batch), indices), strict=True))

    for boxes in pool.spread(looked, batches()):
        found.update(boxes)
    return found, count
