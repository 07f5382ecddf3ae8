"""Pair generated with reference frames, and warn about mismatches.

Both sides are streams and are read to their ends, so that unpaired frames can be counted. Only the few frames within
the largest shift are in memory at a time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.types import Frame, Resize

HINT_REACH = 3  # frames to either side that are tried for a hint
HINT_GAIN = 3.0  # dB
LENGTHS_MAY_DIFFER_BY = 5  # frames
LENGTHS_MAY_DIFFER_BY_PART = 0.02
INTERPOLATIONS: dict[Resize, int] = {"area": cv2.INTER_AREA, "bicubic": cv2.INTER_CUBIC}


def fit(frame: Frame, like: Frame, resize: Resize) -> Frame:
    """The frame, resized to the size of `like` if the sizes differ."""
    if frame.shape == like.shape:
        return frame
    height, width = like.shape[:2]
    return cv2.resize(frame, (width, height), interpolation=INTERPOLATIONS[resize])  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Pair:
    """A generated frame and its reference frame, uint8[H, W, 3], with their numbers in their streams."""

    generated_index: int
    reference_index: int
    generated: Frame
    reference: Frame


class Pairs:
    """Pairs generated frame i + shift with reference frame i.

    Iterate once; afterwards n_generated and n_reference hold the streams' lengths.

    Args:
        generated, reference: frames in order, at the same frame rate or each at its own.
        shift: how many generated frames (reference frames if negative) to skip before the first pair.
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


class ShiftErrors:
    """Squared errors of two streams of frames at every shift within -reach..reach, added up frame by frame.

    Shift s compares generated frame i + s with reference frame i. At most reach + 1 frames of each are in memory.
    """

    def __init__(self, reach: int) -> None:
        self._errors = dict.fromkeys(range(-reach, reach + 1), 0.0)
        self._pairs = dict.fromkeys(self._errors, 0)
        self._values = 1
        self._recent_g: deque[NDArray[np.uint8] | None] = deque(maxlen=reach + 1)
        self._recent_r: deque[NDArray[np.uint8] | None] = deque(maxlen=reach + 1)
        self._n_generated = self._n_reference = 0

    def add(self, generated: NDArray[np.uint8] | None, reference: NDArray[np.uint8] | None) -> None:
        """Add the next frames, uint8 of one shape; None for a stream that has ended."""
        self._n_generated += generated is not None
        self._n_reference += reference is not None
        self._recent_g.appendleft(generated)
        self._recent_r.appendleft(reference)
        matches = [(lag, generated, earlier) for lag, earlier in enumerate(self._recent_r)]
        matches += [(-lag, earlier, reference) for lag, earlier in enumerate(self._recent_g) if lag]
        for shift, a, b in matches:
            if a is not None and b is not None:
                self._errors[shift] += cv2.norm(a, b, cv2.NORM_L2SQR)
                self._pairs[shift] += 1
                self._values = a.size

    def best(self) -> int:
        """The shift with the smallest mean squared error; of equal ones, the one nearest to 0.

        A shift must leave at least half of the shorter side; otherwise a few still frames at the ends would win.
        """
        least = max(1, min(self._n_generated, self._n_reference) / 2)
        allowed = [shift for shift in self._errors if self._pairs[shift] >= least]
        return min(allowed, key=lambda shift: (self._mean(shift), abs(shift)), default=0)

    def gain(self, shift: int) -> float:
        """The gain in dB of the pooled PSNR over that without a shift; identical frames count 100 dB."""
        return self._psnr(shift) - self._psnr(0)

    def _mean(self, shift: int) -> float:
        return self._errors[shift] / self._pairs[shift]

    def _psnr(self, shift: int) -> float:
        error = self._mean(shift) / self._values if self._pairs[shift] else 255.0**2
        return min(100.0, 10 * math.log10(255**2 / error)) if error else 100.0


def best_shift(generated: Iterable[NDArray[np.uint8]], reference: Iterable[NDArray[np.uint8]], max_shift: int) -> int:
    """The shift within -max_shift..max_shift that pairs generated frame i + shift best with reference frame i.

    The best pairing has the highest PSNR of the pooled squared error over all pairs; see ShiftErrors.best.

    Args:
        generated, reference: uint8 images of one shape, at one frame rate; small images suffice.
        max_shift: frames, 0 or more.
    """
    errors = ShiftErrors(max_shift)
    for g, r in zip_longest(generated, reference):
        errors.add(g, r)
    return errors.best()


def shift_hint(errors: ShiftErrors) -> str | None:
    """A warning if another shift brings the two much closer than the one at which they were compared; else None."""
    shift = errors.best()
    gain = errors.gain(shift)
    if shift == 0 or gain <= HINT_GAIN:
        return None
    return f"moved by {shift:+d} frame{'s' * (abs(shift) != 1)}, the two are {gain:.1f} dB closer: try --align shift"


def length_warning(n_generated: int, n_reference: int) -> str | None:
    """A warning if the lengths differ by more than 5 frames or by more than 2 % of the reference."""
    difference = abs(n_generated - n_reference)
    if difference <= LENGTHS_MAY_DIFFER_BY and difference <= LENGTHS_MAY_DIFFER_BY_PART * n_reference:
        return None
    return f"lengths differ: {n_generated} generated frames, {n_reference} in the reference"
