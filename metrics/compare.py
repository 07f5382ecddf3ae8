"""The certainty of means and differences: intervals, p-values, and a correction for many comparisons.

There is one value per video. Videos are the unit that is resampled or swapped, because values within a video are not
independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lipscore.metrics.reduce import BATCH_VALUES, RESAMPLES, Interval


def interval_of_mean(values: Sequence[float], seed: int = 0) -> Interval:
    """A 95 % interval of the mean: the percentile bootstrap, widened for small samples.

    The plain percentile interval of n values is too narrow by about sqrt((n - 1) / n), and by the ratio of the normal
    quantile to Student's. Hesterberg, "What Teachers Should Know About the Bootstrap" (2015), uses wider percentiles:
    alpha' / 2 = Phi(-sqrt(n / (n - 1)) * t).

    Args:
        values: one per video.
        seed: the seed of the random draws; the same seed gives the same interval.
    """
    n = len(values)
    if n < 2:
        return Interval(math.nan, math.nan)
    from scipy import stats  # here, because it takes half a second

    tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    found = stats.bootstrap(
        (np.asarray(values, np.float64),),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // n),
        confidence_level=1 - 2 * tail,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def randomisation_p(differences: Sequence[float], seed: int = 0) -> float:
    """Two-sided p of paired differences by approximate randomisation: the share of swaps with as large a mean.

    The method is from Noreen, "Computer-Intensive Methods for Testing Hypotheses" (1989). If the number of possible
    swaps is small, p is exact; otherwise it is estimated from RESAMPLES random swaps. p is never 0, and NaN if there
    are no differences.
    """
    found = np.asarray(differences, np.float64)
    if len(found) == 0:
        return math.nan
    if not found.any():
        return 1.0
    from scipy import stats

    def mean_difference(a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        drawn: NDArray[np.float64] = (a - b).mean(axis)
        return drawn

    test = stats.permutation_test(
        (found, np.zeros_like(found)),
        mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // (2 * len(found))),
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's method (1979), in their order; NaN stays and is not counted.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(ps) if not math.isnan(p))
    corrected = [math.nan] * len(ps)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[place] = largest
    return corrected
