"""Statistics: p-values against every swap counted one by one, intervals against a simulation, Holm by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lipscore.metrics.compare import holm, interval_of_mean, randomisation_p


def every_swap(differences: list[float]) -> float:
    """The share of sign patterns whose mean is at least as far from 0."""
    observed = abs(sum(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in signs_of(len(differences))]
    return sum(found >= observed - 1e-9 for found in sums) / len(sums)


def signs_of(n: int) -> list[tuple[int, ...]]:
    return list(itertools.product((1, -1), repeat=n))


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_every_swap_where_there_are_few(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.5, 1, 9).tolist()
    assert randomisation_p(differences) == pytest.approx(every_swap(differences))


def test_p_of_many_pairs_is_near_that_of_students_test() -> None:
    """Of normal differences the t-test is exact, and randomisation comes near it (Noreen 1989)."""
    for mean in (0.0, 0.15, 0.3):
        differences = np.random.default_rng(7).normal(mean, 1, 80)
        expected = stats.ttest_1samp(differences, 0).pvalue
        assert randomisation_p(differences.tolist()) == pytest.approx(expected, abs=0.02)


def test_p_of_nothing() -> None:
    assert randomisation_p([0.0, 0.0]) == 1.0
    assert math.isnan(randomisation_p([]))
    assert randomisation_p([1.0] * 40) < 0.001


@pytest.mark.parametrize(
    ("n", "draw", "trials"),
    [
        (12, "normal", 500),
        pytest.param(12, "normal", 3000, marks=pytest.mark.slow),
        pytest.param(40, "normal", 3000, marks=pytest.mark.slow),
        pytest.param(40, "gamma", 3000, marks=pytest.mark.slow),
    ],
)
def test_95_percent_intervals_hold_the_mean_about_as_often(n: int, draw: str, trials: int) -> None:
    rng = np.random.default_rng(n)
    held = 0
    for trial in range(trials):
        values = rng.normal(3, 1, n) if draw == "normal" else rng.gamma(9, 1 / 3, n)  # both have the mean 3
        interval = interval_of_mean(values.tolist(), seed=trial)
        held += interval.low <= 3 <= interval.high
    assert 0.93 <= held / trials <= 0.97


def test_an_interval_is_the_same_twice_and_none_of_one_value() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    assert interval_of_mean(values) == interval_of_mean(values)
    assert math.isnan(interval_of_mean([1.0]).low)


def test_holms_own_example() -> None:
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([0.9, math.nan, 0.8])[0] == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_only_raises(ps: list[float]) -> None:
    corrected = holm(ps)
    assert all(p <= c <= 1 for p, c in zip(ps, corrected, strict=True))
    order = sorted(range(len(ps)), key=lambda k: ps[k])
    assert all(corrected[a] <= corrected[b] for a, b in itertools.pairwise(order))
    assert min(corrected) == pytest.approx(min(1.0, min(ps) * len(ps)))
