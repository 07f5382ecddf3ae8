"""The wide search's statistic against a naive loop, its laws, and noise: no answer may be readable from the lengths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipscore.metrics import longrange
from lipscore.metrics.longrange import ShiftSums, cosine_map, find_peak, root_n, sums_of, unit
from lipscore.types import Floats


def noise(rng: np.random.Generator, count: int, dimensions: int = 16) -> Floats:
    return unit(rng.normal(size=(count, dimensions)).astype(np.float32))


def sync(rng: np.random.Generator, count: int, first: int, offset: int, total: int) -> tuple[Floats, Floats]:
    """Lips that show, noisily, what the audio says `offset` windows earlier than they should."""
    audio = noise(rng, total)
    at = np.arange(count) + first - offset
    lip = noise(rng, count)
    inside = (at >= 0) & (at < total)
    lip[inside] = unit(audio[at[inside]] + 0.8 * lip[inside])
    return lip, audio


@given(st.integers(1, 30), st.integers(1, 40), st.integers(-20, 40), st.integers(0, 12), st.integers(0, 99))
def test_map_and_statistic_equal_a_naive_loop(windows: int, n_audio: int, first: int, reach: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lip, audio = noise(rng, windows), noise(rng, n_audio)
    sums = sums_of(cosine_map(lip, audio, first, reach))
    total, count = [], []
    for d in range(-reach, reach + 1):
        values = [float(lip[i] @ audio[i + first + d]) for i in range(windows) if 0 <= i + first + d < n_audio]
        total.append(sum(values))
        count.append(len(values))
    assert sums.count.tolist() == count
    np.testing.assert_allclose(sums.total, total, atol=1e-4)
    wanted = [k for k, n in enumerate(count) if n >= 3]
    score = root_n(sums, least=3)
    assert np.flatnonzero(~np.isnan(score)).tolist() == wanted
    if len(wanted) < 3:
        return
    mean = sum(total[k] for k in wanted) / sum(count[k] for k in wanted)
    raw = [(total[k] - count[k] * mean) / count[k] ** 0.5 for k in wanted]
    middle = sorted(raw)[len(raw) // 2] if len(raw) % 2 else np.median(raw)
    deviation = float(np.median([abs(value - middle) for value in raw]))
    if deviation > 1e-3:
        np.testing.assert_allclose(score[wanted], np.array(raw) / deviation, rtol=1e-2, atol=1e-3)


def test_parts_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(1)
    lip, audio = noise(rng, 90), noise(rng, 300)
    whole = sums_of(cosine_map(lip, audio, 100, 20))
    parts = ShiftSums.none(20)
    for start in range(0, 90, 32):
        parts = parts + sums_of(cosine_map(lip[start : start + 32], audio, 100 + start, 20))
    np.testing.assert_allclose(parts.total, whole.total, atol=1e-4)
    assert (parts.count == whole.count).all()


@pytest.mark.parametrize("offset", [-118, -40, 0, 3, 77, 121])
def test_finds_seconds_that_the_plain_mean_misses(offset: int) -> None:
    lip, audio = sync(np.random.default_rng(offset + 200), 170, 0, offset, 170)
    found = find_peak(sums_of(cosine_map(lip, audio, 0)))
    assert found is not None and found.offset == offset and abs(found.subframe - offset) <= 0.5


@given(st.integers(-60, 60), st.integers(0, 30))
def test_swapping_the_streams_mirrors_the_answer(offset: int, seed: int) -> None:
    lip, audio = sync(np.random.default_rng(seed), 160, 0, offset, 160)
    one = find_peak(sums_of(cosine_map(lip, audio, 0, 70)))
    other = find_peak(sums_of(cosine_map(audio, lip, 0, 70)))
    assert one is not None and other is not None
    assert other.offset == -one.offset and other.windows == one.windows
    assert other.z == pytest.approx(one.z, rel=1e-4) and other.subframe == pytest.approx(-one.subframe, abs=1e-3)


def test_moved_sums_are_those_of_moved_audio() -> None:
    lip, audio = sync(np.random.default_rng(8), 100, 150, 12, 400)
    here, there = (sums_of(cosine_map(lip, audio, first, 40)).moved(by) for first, by in ((150, 7), (143, 0)))
    np.testing.assert_allclose(here.total[7:], there.total[7:], atol=1e-4)
    assert find_peak(here).offset == 5  # type: ignore[union-attr]


@pytest.mark.parametrize("whole_sound", [False, True])
def test_noise_is_answered_at_chance(whole_sound: bool) -> None:
    """Lengths and masks as files have them, embeddings that know nothing: right about as often as a guess is."""
    rng = np.random.default_rng(20)
    right = items = 0
    for _ in range(400):
        windows, offset = int(rng.integers(48, 260)), int(rng.integers(-125, 126))
        around = int(rng.integers(0, 126)) if whole_sound else 0
        lip, audio = noise(rng, windows), noise(rng, windows + 2 * around)
        found = find_peak(sums_of(cosine_map(lip, audio, around)))
        assert found is not None
        right += abs(found.offset - offset) <= 1
        items += 1
    assert right / items < 3 / 251 + 3 * (3 / 251 / items) ** 0.5  # a guess is right in 1.2 %


def test_what_does_not_differ_has_no_peak() -> None:
    still = np.tile(unit(np.ones((1, 16), np.float32)), (200, 1))
    assert find_peak(sums_of(cosine_map(still, still, 0))) is None
    assert find_peak(sums_of(cosine_map(still[:5], still[:5], 0))) is None
    assert find_peak(ShiftSums.none(longrange.REACH)) is None


def test_confidence_rises_with_the_peak_and_its_lead() -> None:
    rng = np.random.default_rng(12)
    lip, audio = sync(rng, 200, 0, 20, 200)
    sums = sums_of(cosine_map(lip, audio, 0))
    peak, other = find_peak(sums), find_peak(sums, offset=-63)
    assert peak is not None and other is not None and other.offset == -63 and other.second == 20
    assert 0 < longrange.confidence(other) < 0.1 < 0.99 < longrange.confidence(peak) < 1
    assert longrange.confidence(replace(peak, second_z=peak.z - 0.2)) < longrange.confidence(peak)
    assert 0 <= longrange.confidence(replace(other, z=-2.0)) < 0.01
    assert find_peak(ShiftSums(sums.total, np.where(sums.count > 100, sums.count, 0)), offset=125) is None


def test_the_edge_is_told() -> None:
    rng = np.random.default_rng(3)
    lip, audio = sync(rng, 200, 0, 20, 200)
    at_edge, inside = (find_peak(sums_of(cosine_map(lip, audio, 0, reach))) for reach in (20, 30))
    assert at_edge is not None and at_edge.at_edge and at_edge.offset == 20
    assert inside is not None and not inside.at_edge
