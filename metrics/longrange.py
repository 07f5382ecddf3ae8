"""The offset of streams that are out of sync by seconds: cosines are summed per shift and divided by root n.

SyncNet's search takes the shift with the smallest mean distance (`lipscore.metrics.lse`). Over a wide range, that finds
the ends of a file: distant shifts have few windows, and the mean of few windows varies most. Without sync, the sum of n
independent cosines has a deviation that grows with the root of n. The statistic here is therefore

    (sum of the shift's cosines - n x mean cosine of all shifts) / sqrt(n),

in units of its own median absolute deviation over the shifts. It is a z-score of each shift against all others, and its
deviation does not depend on the overlap. docs/measures/long-range.md compares it with the plain mean.

Shift d pairs lip window i with audio window i + d. An offset is -d: positive where the audio comes before the video.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipscore.types import Floats

REACH = 125  # frames to each side: 5 seconds
LEAST = 8  # the fewest windows of overlap with which a shift takes part
FITTED = (-7.13, 4.69, 0.79)  # weights of `confidence_terms`: 1, log z, log lead
FOUND = 0.8  # the least confidence of an answer; 3 % of files with another recording's sound reach it
ENOUGH = 25  # the fewest windows of overlap of an answer: a second
GUARD = 3  # frames around the best shift that belong to its own peak: a window spans five frames

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShiftSums:
    """For the shifts -reach ... reach: total float64[2 * reach + 1], the sums of cosines; count int64, their numbers.

    Sums of parts of a file, or of several faces of one file, add up to the sums of the whole.
    """

    total: Doubles
    count: NDArray[np.int64]

    @staticmethod
    def none(reach: int) -> ShiftSums:
        """The sums over no windows."""
        return ShiftSums(np.zeros(2 * reach + 1), np.zeros(2 * reach + 1, np.int64))

    def __add__(self, other: ShiftSums) -> ShiftSums:
        return ShiftSums(self.total + other.total, self.count + other.count)

    @property
    def reach(self) -> int:
        """The largest shift in each direction."""
        return len(self.total) // 2

    def moved(self, frames: int) -> ShiftSums:
        """The sums as they would be if the audio came `frames` later: shift d takes the place of d + frames."""
        target = np.arange(len(self.total)) - frames
        inside = (target >= 0) & (target < len(self.total))
        total, count = np.zeros_like(self.total), np.zeros_like(self.count)
        total[inside], count[inside] = self.total[target[inside]], self.count[target[inside]]
        return ShiftSums(total, count)


def unit(rows: Floats) -> Floats:
    """The rows of float32[N, D] scaled to length 1; a row of length 0 stays unchanged."""
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    scaled: Floats = rows / np.maximum(lengths, np.float32(1e-12))
    return scaled


def cosine_map(lip: Floats, audio: Floats, first: int, reach: int = REACH) -> Floats:
    """The cosine of each lip window with the audio windows around it.

    Args:
        lip: float32[W, D], rows of length 1.
        audio: float32[N, D], rows of length 1.
        first: the audio window at which lip window 0 lies when the shift is 0; any whole number.
        reach: the largest shift in each direction.

    Returns:
        float32[W, 2 * reach + 1]; column k has shift k - reach, NaN if that audio window does not exist.
    """
    n, width = len(lip), 2 * reach + 1
    start = first - reach
    wanted = np.arange(start, start + n + width - 1)
    known = (wanted >= 0) & (wanted < len(audio))
    around = np.zeros((len(wanted), lip.shape[1]), np.float32)
    around[known] = audio[wanted[known]]
    products = lip @ around.T
    rows, columns = products.strides
    band = np.lib.stride_tricks.as_strided(products, (n, width), (rows + columns, columns)).copy()
    band[~np.lib.stride_tricks.sliding_window_view(known, width)[:n]] = np.nan
    return band


def sums_of(cosines: Floats) -> ShiftSums:
    """The sums of a map float32[W, 2 * reach + 1]; NaN does not count."""
    known = ~np.isnan(cosines)
    return ShiftSums(np.where(known, cosines, 0).sum(axis=0, dtype=np.float64), known.sum(axis=0))


def root_n(sums: ShiftSums, least: int = LEAST) -> Doubles:
    """The statistic float64[2 * reach + 1] of every shift, in median absolute deviations; NaN below `least` windows.

    It is 0 everywhere if the shifts do not differ (silence, a still picture), so that no shift stands out.
    """
    n = sums.count
    taking_part = n >= least
    if not taking_part.any():
        return np.full(len(n), np.nan)
    overall = sums.total[taking_part].sum() / n[taking_part].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(taking_part, (sums.total - n * overall) / np.sqrt(n), np.nan)
    spread = float(np.nanmedian(np.abs(score - np.nanmedian(score))))
    if spread <= 1e-9 * max(1.0, float(np.nanmax(np.abs(score)))) or spread < 1e-7:
        return np.where(taking_part, 0.0, np.nan)
    scaled: Doubles = score / spread
    return scaled


@dataclass(frozen=True, slots=True)
class Peak:
    """The offset at which a file's sound fits its picture best.

    offset: in frames, positive if the audio comes before the video. subframe: the offset between frames. z: the
    statistic of the offset. windows: its overlap. cosine: by how much its mean cosine exceeds the mean of all shifts.
    second, second_z: the best offset outside the peak and its statistic (None and NaN if the range has no other).
    at_edge: whether the true offset may lie beyond the range.
    """

    offset: int
    subframe: float
    z: float
    windows: int
    cosine: float
    second: int | None
    second_z: float
    at_edge: bool


def find_peak(sums: ShiftSums, least: int = LEAST, offset: int | None = None) -> Peak | None:
    """The shift with the largest `root_n`; None if no shift has `least` windows or none stands out.

    Args:
        offset: describe this offset instead, whatever its rank; the result is None if it has too few windows.
    """
    score = root_n(sums, least)
    known = ~np.isnan(score)
    if not known.any() or not np.nanmax(score) > 0:
        return None
    reach = sums.reach
    best = int(np.nanargmax(score)) if offset is None else reach - offset
    if not known[best]:
        return None
    others = np.where(np.abs(np.arange(len(score)) - best) > GUARD, score, np.nan)
    second = None if np.isnan(others).all() else int(np.nanargmax(others))
    overall = sums.total[known].sum() / sums.count[known].sum()
    inner = 0 < best < len(score) - 1 and known[best - 1] and known[best + 1]
    moved = _vertex(*(float(v) for v in score[best - 1 : best + 2])) if inner else 0.0
    return Peak(
        offset=reach - best,
        subframe=reach - best - moved,
        z=float(score[best]),
        windows=int(sums.count[best]),
        cosine=float(sums.total[best] / sums.count[best] - overall),
        second=None if second is None else reach - second,
        second_z=math.nan if second is None else float(score[second]),
        at_edge=not inner,
    )


def _vertex(left: float, middle: float, right: float) -> float:
    """The position of the maximum of the parabola through three values, from the middle: at most half a step."""
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, (left - right) / (2 * bend)))


def confidence(peak: Peak, weights: Sequence[float] = FITTED) -> float:
    """The probability that the offset is right to a frame, for mini's towers (docs/measures/long-range.md).

    It is a logistic function of the logarithms of z and of z's lead over the best other shift, both at least 0.05. It
    was fitted on files of 2.5 to 15 seconds, made of clips from eleven sources; a fifth have another recording's sound.

    Args:
        weights: the weights of `confidence_terms`.
    """
    terms = confidence_terms(peak)
    return 1 / (1 + math.exp(-math.fsum(weight * term for weight, term in zip(weights, terms, strict=True))))


def confidence_terms(peak: Peak) -> tuple[float, float, float]:
    """The terms of `confidence`: 1, log z, and the logarithm of z's lead."""
    lead = 0.05 if math.isnan(peak.second_z) else max(0.05, peak.z - peak.second_z)
    return 1.0, math.log(max(0.05, peak.z)), math.log(lead)
