"""Measure whether the mouth of a face track moves: a photograph, a frozen face or an empty picture has no lip sync.

Two crops a fifth of a second apart are aligned by an affine map, a gain and a level (least squares over the lower face,
Gauss-Newton on two scales, as in Lucas and Kanade, "An iterative image registration technique", 1981). This removes the
changes that a moving camera, a zoom, a jumping box or a change of light causes. The measure is the remaining difference
in the mouth. It uses the pixels alone, so it does not depend on a sync model. docs/measures/motion.md has the values of
real and still faces.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipscore.types import Floats, Frame

STILL = 0.05  # docs/measures/motion.md: the least of 250 talking faces has 0.062
LAG = 5  # frames between the two crops: about a syllable
QUANTILE = 0.9  # over the pairs: whoever speaks for a tenth of the time moves
LOWER_FACE = (slice(49, 209), slice(32, 192))  # rows and columns of a 224 x 224 crop
SIDE, COARSE = 42, 21  # pixels to which the lower face is reduced, and those of the first scale
MOUTH = (slice(12, 31), slice(11, 31))  # rows and columns of the reduced lower face
FLAT = 4.0  # grey levels added to the contrast, so that noise on an empty picture is no motion
LEAST_PAIRS = 2
STEPS = (6, 5)  # of the coarse and of the fine scale
LONGEST_STEP = 0.2  # of half the side: the most that one step may move or bend the map
DAMPING = (9e-3,) * 6 + (1e-3, 0.0)  # per pixel, of the map's parameters, the gain and the level

Map = NDArray[np.float64]


class MouthMotion:
    """How much a track's mouth moves: feed() its crops in order, then read `value`."""

    def __init__(self) -> None:
        self._seen = 0
        self._last: Floats | None = None
        self._pairs: list[float] = []

    def feed(self, crops: NDArray[np.uint8]) -> None:
        """The track's next crops, uint8[n, 224, 224, 3] BGR."""
        for number in range(-self._seen % LAG, len(crops), LAG):
            face = lower_face(crops[number])
            if self._last is not None:
                self._pairs.append(change(self._last, face))
            self._last = face
        self._seen += len(crops)

    @property
    def value(self) -> float | None:
        """The change of the mouth per contrast of the face, 0 for a still picture; None for fewer than LEAST_PAIRS."""
        return round(float(np.quantile(self._pairs, QUANTILE)), 4) if len(self._pairs) >= LEAST_PAIRS else None


def is_still(motion: float | None) -> bool:
    """Whether a track's `value` says that its mouth does not move; False for None."""
    return motion is not None and motion < STILL


def lower_face(crop: Frame) -> Floats:
    """The lower face of a crop: uint8[224, 224, 3] BGR -> float32[42, 42], grey."""
    grey = cv2.cvtColor(crop[LOWER_FACE], cv2.COLOR_BGR2GRAY)
    reduced = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return cv2.GaussianBlur(reduced, (0, 0), 0.8)  # type: ignore[return-value]


def change(before: Floats, after: Floats) -> float:
    """The root mean square of the difference in the mouths of two lower faces, per contrast of the first."""
    found = np.zeros(6)
    small = [cv2.resize(cv2.GaussianBlur(face, (0, 0), 1.2), (COARSE, COARSE)) for face in (before, after)]
    found, _, _ = _register(np.asarray(small[0]), np.asarray(small[1]), found, STEPS[0])
    _, rest, inside = _register(before, after, found, STEPS[1])
    mouth, counts = cv2.GaussianBlur(rest, (0, 0), 1.5)[MOUTH], inside[MOUTH]
    if not counts.any():
        return 0.0
    return float(np.sqrt(np.square(mouth[counts]).mean()) / (before.std() + FLAT))


@cache
def _grid(side: int) -> tuple[Floats, Floats, Floats, Floats]:
    """The column and row numbers of a square picture, and the same scaled to -1 ... 1."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    return columns, rows, (columns - (side - 1) / 2) / (side / 2), (rows - (side - 1) / 2) / (side / 2)


def _register(fixed: Floats, moving: Floats, found: Map, steps: int) -> tuple[Map, Floats, NDArray[np.bool_]]:
    """Improve an affine map float64[6] from `fixed` to `moving` by `steps` steps.

    Returns:
        (the map, the difference between `fixed` and the warped picture with its gain and level, a mask of the pixels
        that the warped picture covers).
    """
    side = len(fixed)
    columns, rows, x, y = _grid(side)
    half = side / 2
    rest, inside = fixed, np.ones(fixed.shape, bool)
    for _ in range(steps):
        at_x = (columns + half * (found[0] + found[1] * x + found[2] * y)).astype(np.float32)
        at_y = (rows + half * (found[3] + found[4] * x + found[5] * y)).astype(np.float32)
        inside = (at_x >= 0) & (at_x <= side - 1) & (at_y >= 0) & (at_y <= side - 1)
        warped = np.asarray(cv2.remap(moving, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        by_x = half / 8 * np.asarray(cv2.Sobel(warped, cv2.CV_32F, 1, 0))
        by_y = half / 8 * np.asarray(cv2.Sobel(warped, cv2.CV_32F, 0, 1))
        terms = (by_x, by_x * x, by_x * y, by_y, by_y * x, by_y * y, warped - warped.mean(), np.ones_like(warped))
        table = np.stack(terms, axis=-1)
        part = table[inside].astype(np.float64)
        damping = len(part) * np.array(DAMPING)
        wanted = part.T @ fixed[inside]
        wanted[6] += damping[6]  # a gain of 1 where the picture does not say
        solved = np.linalg.solve(part.T @ part + np.diag(damping + 1e-6), wanted)
        rest = fixed - table[..., 6:] @ solved[6:].astype(np.float32)
        found = found + np.clip(solved[:6], -LONGEST_STEP, LONGEST_STEP)
    return found, rest, inside
