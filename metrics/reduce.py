"""Reduce tracks to a video's numbers; means with n, confidence intervals over videos, and comparison of two runs.

Rows of one video are not independent, because its face tracks share speaker, sound and generator. Intervals therefore
resample videos, not rows: the percentile bootstrap of Efron & Tibshirani (1993), chapter 13, on whole clusters.
Two runs are compared by the sign-flip test on the videos' differences (Fisher 1935, section 21), which holds its level
at any number of videos; with fewer than six it cannot reach 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipscore.types import TrackScore

RESAMPLES = 9999
LEAST_VIDEOS = 6  # of five, the smallest p is 2 / 2 ** 5 = 0.06
BATCH_VALUES = 1 << 22  # resampled values in memory at a time


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and the number of values; NaN for n = 0."""

    value: float
    n: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval; NaN for fewer than two videos."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Two runs over the same videos.

    difference: the mean of b - a over the n videos. interval: its Student's t interval. p: the p-value of the sign-flip
    test that the two do not differ, 1 with fewer than two videos.
    """

    n: int
    mean_a: float
    mean_b: float
    difference: float
    interval: Interval
    p: float


def mean(values: Sequence[float]) -> Mean:
    """The mean of the finite values.

    >>> mean([1.0, 3.0, float("nan")])
    Mean(value=2.0, n=2)
    """
    finite = [value for value in values if math.isfinite(value)]
    return Mean(math.fsum(finite) / len(finite) if finite else math.nan, len(finite))


def reduce_tracks(tracks: Sequence[TrackScore], rule: str) -> tuple[float, float, int]:
    """A video's (LSE-D, LSE-C, offset) from its tracks, by the protocol's `reduce`.

    The offset is the most confident track's, except under mean_offset (LatentSync), which takes the truncated mean.
    """
    lse_d, lse_c = [track.lse_d for track in tracks], [track.lse_c for track in tracks]
    if rule == "extremes":
        numbers = min(lse_d), max(lse_c)
    else:
        numbers = float(np.mean(lse_d)), float(np.mean(lse_c))
    if rule == "mean_offset":
        return *numbers, int(np.mean([track.offset for track in tracks]))
    return *numbers, most_confident(tracks).offset


def most_confident(tracks: Sequence[TrackScore]) -> TrackScore:
    """The track with the highest LSE-C; the first one in case of a tie."""
    return max(tracks, key=lambda track: track.lse_c)


def bootstrap_mean(videos: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """The interval of the mean over all rows; whole videos are resampled, each with all of its rows.

    Args:
        videos: for each video, its rows' values; values that are not finite are ignored.
        seed: the same seed gives the same interval.
    """
    finite = [[value for value in rows if math.isfinite(value)] for rows in videos]
    finite = [rows for rows in finite if rows]
    sums = np.array([math.fsum(rows) for rows in finite])
    counts = np.array([len(rows) for rows in finite], dtype=np.float64)
    return _bootstrap(sums, counts, seed)


def paired(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Paired:
    """Compare two runs video by video.

    Args:
        a, b: a value per video, in the same order; a video counts only if both values are finite.

    Raises:
        ValueError: a and b differ in length.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values must come in pairs, got {len(a)} and {len(b)}")
    both = [(x, y) for x, y in zip(a, b, strict=True) if math.isfinite(x) and math.isfinite(y)]
    differences = [y - x for x, y in both]
    return Paired(
        n=len(both),
        mean_a=mean([x for x, _ in both]).value,
        mean_b=mean([y for _, y in both]).value,
        difference=mean(differences).value,
        interval=_t_interval(differences),
        p=_sign_flip(differences, seed),
    )


def _t_interval(differences: Sequence[float]) -> Interval:
    if len(differences) < 2:
        return Interval(math.nan, math.nan)
    from scipy import stats

    middle, error = np.mean(differences), np.std(differences, ddof=1) / math.sqrt(len(differences))
    reach = float(stats.t.ppf(0.975, len(differences) - 1) * error)
    return Interval(float(middle) - reach, float(middle) + reach)


def _sign_flip(differences: Sequence[float], seed: int) -> float:
    """The two-sided p value: exact for few videos, else estimated from RESAMPLES random draws of the signs."""
    if len(differences) < 2 or not any(differences):
        return 1.0
    from scipy import stats

    found = stats.permutation_test(
        (np.array(differences),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // len(differences)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _bootstrap(sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int) -> Interval:
    if len(sums) < 2:
        return Interval(math.nan, math.nan)

    def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        drawn: NDArray[np.float64] = sums.sum(axis) / counts.sum(axis)
        return drawn

    from scipy import stats  # imported here: it takes half a second, and most runs do not need it

    interval = stats.bootstrap(
        (sums, counts),
        ratio,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // len(sums)),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(interval.low), float(interval.high))
