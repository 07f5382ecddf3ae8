"""Which generated frame meets which reference frame, and what a reader must know of it.

Both sides are streams of frames and are read to their ends, so that what was left out can be counted; no more than the
few frames within the largest shift are held at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.types import Frame, Resize

LENGTHS_MAY_DIFFER_BY = 5  # frames
LENGTHS_MAY_DIFFER_BY_PART = 0.02
INTERPOLATIONS: dict[Resize, int] = {"area": cv2.INTER_AREA, "bicubic": cv2.INTER_CUBIC}


def fit(frame: Frame, like: Frame, how: Resize) -> Frame:
    """The frame at the other one's size; itself where it has that size."""
    if frame.shape == like.shape:
        return frame
    height, width = like.shape[:2]
    return cv2.resize(frame, (width, height), interpolation=INTERPOLATIONS[how])  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Pair:
    """A generated frame and the reference frame that it meets, uint8[H, W, 3], with their numbers in their streams."""

    generated_index: int
    reference_index: int
    generated: Frame
    reference: Frame


class Pairs:
    """Pairs generated frame i + shift with reference frame i; iterate once, then n_generated and n_reference are known.

    Args:
        generated, reference: frames in order, at one frame rate or each at its own.
        shift: how many generated frames (or, below 0, reference frames) come before the first pair.
    """

    def __init__(self, generated: Iterable[Frame], reference: Iterable[Frame], shift: int = 0) -> None:
        self.n_generated = 0
        self.n_reference = 0
        self._generated = iter(generated)
        self._reference = iter(reference)
        self._shift = shift

    def __iter__(self) -> Iterator[Pair]:
        self.n_generated = _skip(self._generated, max(0, self._shift))
        self.n_reference = _skip(self._reference, max(0, -self._shift))
        for generated, reference in zip_longest(self._generated, self._reference):
            if generated is not None and reference is not None:
                yield Pair(self.n_generated, self.n_reference, generated, reference)
            self.n_generated += generated is not None
            self.n_reference += reference is not None


def _skip(frames: Iterator[Frame], n: int) -> int:
    return sum(1 for _ in islice(frames, n))


def best_shift(generated: Iterable[NDArray[np.uint8]], reference: Iterable[NDArray[np.uint8]], max_shift: int) -> int:
    """The shift within -max_shift..max_shift at which generated frame i + shift is nearest to reference frame i.

    Nearest: the highest PSNR of the pooled squared error over all pairs that the shift leaves; of equals the smallest
    shift. A shift must leave at least half of the shorter side, for otherwise a few still frames at the ends would win.

    Args:
        generated, reference: uint8 images of one shape, at one frame rate; small ones will do.
        max_shift: frames, 0 or more.
    """
    errors = dict.fromkeys(range(-max_shift, max_shift + 1), 0.0)
    pairs = dict.fromkeys(errors, 0)
    recent_g: deque[NDArray[np.uint8] | None] = deque(maxlen=max_shift + 1)
    recent_r: deque[NDArray[np.uint8] | None] = deque(maxlen=max_shift + 1)
    n_generated = n_reference = 0
    for g, r in zip_longest(generated, reference):
        n_generated += g is not None
        n_reference += r is not None
        recent_g.appendleft(g)
        recent_r.appendleft(r)
        matches = [(lag, g, earlier) for lag, earlier in enumerate(recent_r)]
        matches += [(-lag, earlier, r) for lag, earlier in enumerate(recent_g) if lag]
        for shift, a, b in matches:
            if a is not None and b is not None:
                errors[shift] += cv2.norm(a, b, cv2.NORM_L2SQR)
                pairs[shift] += 1
    least = max(1, min(n_generated, n_reference) / 2)
    allowed = [shift for shift in errors if pairs[shift] >= least]
    return min(allowed, key=lambda shift: (errors[shift] / pairs[shift], abs(shift)), default=0)


def length_warning(n_generated: int, n_reference: int) -> str | None:
    """Said where the two lengths differ by more than 5 frames or 2 % of the reference."""
    difference = abs(n_generated - n_reference)
    if difference <= LENGTHS_MAY_DIFFER_BY and difference <= LENGTHS_MAY_DIFFER_BY_PART * n_reference:
        return None
    return f"lengths differ: {n_generated} generated frames, {n_reference} in the reference"
