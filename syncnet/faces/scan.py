"""The pass over a video that looks for faces: which frames the detector sees, and boxes for every frame out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lipscore.syncnet.faces.sparse import densify, sample_indices
from lipscore.syncnet.source import FrameSource
from lipscore.types import Detection, Detector, Frame, Shot

BATCH = 8  # frames handed to the detector at a time: 50 MB at 1080p


@dataclass(frozen=True, slots=True)
class Faces:
    """What the scan found: the boxes of every frame, and how many frames the detector looked at."""

    boxes: tuple[tuple[Detection, ...], ...]
    looked_at: int


def scan(source: FrameSource, shots: Sequence[Shot], detector: Detector) -> Faces:
    """Run the detector over the frames that it wants; the next batch is decoded while it works on this one."""
    wanted = set(sample_indices(shots, detector.stride))
    found: dict[int, list[Detection]] = {}
    count = 0

    def batches() -> Iterator[list[tuple[int, Frame]]]:
        nonlocal count
        batch: list[tuple[int, Frame]] = []
        for number, packed in enumerate(source.packed()):
            count = number + 1
            if number in wanted:
                batch.append((number, source.unpack(packed)))
                if len(batch) == BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch

    stream = batches()
    with ThreadPoolExecutor(1) as decoder:
        coming = decoder.submit(next, stream, None)
        while batch := coming.result():
            coming = decoder.submit(next, stream, None)
            numbers = [number for number, _ in batch]
            found.update(zip(numbers, detector([frame for _, frame in batch], numbers), strict=True))
    if detector.stride > 1:
        boxes = densify(found, shots, count)
    else:
        boxes = [found.get(number, []) for number in range(count)]
    return Faces(tuple(tuple(frame) for frame in boxes), len(found))
