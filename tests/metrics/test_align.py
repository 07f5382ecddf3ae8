"""Which frame meets which: pairs, shifts, sizes and warnings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipscore.metrics.image.align import Pairs, best_shift, fit, length_warning


def numbered(n: int) -> list[np.ndarray]:
    return [np.full((2, 2, 3), k, np.uint8) for k in range(n)]


@given(st.integers(0, 12), st.integers(0, 12), st.integers(-14, 14))
def test_pairs_are_those_of_the_shift_and_every_frame_is_counted(n: int, m: int, shift: int) -> None:
    pairs = Pairs(iter(numbered(n)), iter(numbered(m)), shift)
    got = [(p.generated_index, p.reference_index, int(p.generated[0, 0, 0]), int(p.reference[0, 0, 0])) for p in pairs]
    assert got == [(i + shift, i, i + shift, i) for i in range(m) if 0 <= i + shift < n]
    assert (pairs.n_generated, pairs.n_reference) == (n, m)


def drift(n: int, seed: int = 0) -> list[np.ndarray]:
    """Frames that differ more the further they are apart."""
    steps = np.random.default_rng(seed).normal(0, 6, (n, 12, 16)).cumsum(0) + 128
    return list(np.clip(steps, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("shift", [-7, -1, 0, 1, 4, 8])
def test_the_shift_that_was_made_is_found(shift: int) -> None:
    frames = drift(60)
    generated, reference = frames[max(0, -shift) :], frames[max(0, shift) :]
    assert best_shift(generated, reference, 8) == shift
    # against a search that holds everything
    errors = {}
    for s in range(-8, 9):
        pairs = [(generated[i + s], reference[i]) for i in range(len(reference)) if 0 <= i + s < len(generated)]
        errors[s] = np.mean([(a.astype(float) - b) ** 2 for a, b in pairs])
    assert min(errors, key=lambda s: errors[s]) == shift


def test_a_shift_needs_half_of_the_shorter_side() -> None:
    still = np.zeros((4, 4), np.uint8)
    busy = list(np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8))
    # shifted by 8, only the still frames would meet
    assert best_shift([still] * 2 + busy, busy[::-1] + [still] * 2, 8) != -8
    assert abs(best_shift([still] * 2 + busy, busy[::-1] + [still] * 2, 8)) <= 5


def test_tied_shifts_and_empty_streams_give_shift_0() -> None:
    same = [np.full((4, 4), 9, np.uint8)] * 12
    assert best_shift(same, same, 5) == 0
    assert best_shift([], same, 5) == 0
    assert best_shift(same, same, 0) == 0


@pytest.mark.parametrize(
    ("generated", "reference", "warns"),
    [(100, 100, False), (102, 100, False), (103, 100, True), (97, 100, True), (1005, 1000, False), (1006, 1000, True)],
)
def test_different_lengths_are_reported(generated: int, reference: int, warns: bool) -> None:
    warning = length_warning(generated, reference)
    assert (warning is not None) == warns
    if warning:
        assert str(generated) in warning
        assert str(reference) in warning


def test_a_frame_of_another_size_is_brought_to_the_references() -> None:
    frame = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    assert fit(frame, frame.copy(), "area") is frame
    half = fit(frame, np.zeros((4, 6, 3), np.uint8), "area")
    assert half.shape == (4, 6, 3)
    means = frame.astype(float).reshape(4, 2, 6, 2, 3).mean((1, 3))
    assert np.abs(half - means).max() <= 0.5
    assert not np.array_equal(half, fit(frame, half, "bicubic"))
