"""Tell whether a face belongs to the same person as before, by the colours of its box.

The fork (github.com/suprasauce/LIpSync at dc3f6a2, commit a1c56bec) counts pixel values and compares the counts with a
fixed number, so the result depends on the size of the box: at 90 x 118 px everything passes. "appearance" compares
shares of colours instead. It does not recognise faces: another person with the same colours passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.generate.wav2lip.faces.boxes import Ints
from lipscore.types import Frame

MEASURES = ("appearance", "fork", "off")
FORK_LIMIT = 6800.0  # counts
SIDE = 64  # pixels that a box becomes, so that its size does not count
BINS = (8, 32, 32)  # of L, a and b
# benchmarks/quality/same_person.py, a second apart: the same person below it in 95 %, another below it in 0.5 %
LIMIT = 0.45


class Appearance:
    """Hellinger's distance between Lab histograms, to the first or to the last accepted box, whichever is smaller."""

    def __init__(self, box: Frame) -> None:
        self._first = self._last = histogram(box)

    def distance(self, box: Frame) -> float:
        """The distance of a box: 0 (the same colours) to 1 (no colour in common)."""
        found = histogram(box)
        return min(hellinger(self._first, found), hellinger(self._last, found))

    def learn(self, box: Frame) -> None:
        """Take this box as the person's present appearance."""
        self._last = histogram(box)


def histogram(box: Frame) -> NDArray[np.float64]:
    """float64[8 * 32 * 32]: the share of each colour."""
    small = cv2.resize(box, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(BINS), [0, 256] * 3)
    return counts.ravel().astype(np.float64) / SIDE**2


def hellinger(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The distance of two distributions."""
    return float(np.sqrt(max(0.0, 1 - np.sqrt(one * other).sum())))


def fork_distance(one: Frame, other: Frame) -> float:
    """The L2 distance of the counts of the values 0 ... 255 in all channels together, as in the fork."""
    counts = [np.bincount(box.ravel(), minlength=256).astype(np.float64) for box in (one, other)]
    return float(np.linalg.norm(counts[0] - counts[1]))


def recognise(
    frames: Iterable[Frame], candidates: Sequence[Sequence[Ints]], measure: str
) -> tuple[list[Ints | None], list[bool]]:
    """Each frame's box, and whether it is the person of the first frame that has one.

    If a frame has several boxes, "appearance" takes the one that is most like the person; the other measures take the
    one with the highest score.

    Args:
        frames: the picture's frames, one per entry of candidates.
        candidates: int64[4] boxes per frame, the highest score first.
        measure: one of MEASURES.
    """
    boxes: list[Ints | None] = []
    same: list[bool] = []
    person: Appearance | None = None
    reference: Frame | None = None
    for frame, found in zip(frames, candidates, strict=False):
        boxes.append(found[0] if found else None)
        same.append(bool(found))
        if not found or measure == "off":
            continue
        cuts = [frame[y1:y2, x1:x2] for x1, y1, x2, y2 in found]
        if person is None or reference is None:
            reference, person = cuts[0].copy(), Appearance(cuts[0])
        elif measure == "fork":
            same[-1] = fork_distance(reference, cuts[0]) <= FORK_LIMIT
        else:
            distances = [person.distance(cut) for cut in cuts]
            best = int(np.argmin(distances))
            boxes[-1], same[-1] = found[best], distances[best] <= LIMIT
            if same[-1]:
                person.learn(cuts[best])
    return boxes, same
