"""LSE-D, LSE-C and offset against torch's own functions, as SyncNetInstance.py calls them, and against their laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import medfilt

from lipscore.metrics import lse


def original(lip: np.ndarray, audio: np.ndarray, vshift: int) -> tuple[np.ndarray, int, float, float]:
    """Pairwise distances to zero-padded audio, one window at a time: (distances, offset, LSE-D, LSE-C)."""
    one, two = torch.from_numpy(lip), torch.nn.functional.pad(torch.from_numpy(audio), (0, 0, vshift, vshift))
    rows = [
        torch.nn.functional.pairwise_distance(one[[i]].repeat(2 * vshift + 1, 1), two[i : i + 2 * vshift + 1])
        for i in range(len(one))
    ]
    mean = torch.mean(torch.stack(rows, 1), 1)
    smallest, at = torch.min(mean, 0)
    return torch.stack(rows).numpy(), vshift - int(at), float(smallest), float(torch.median(mean) - smallest)


def padded(audio: np.ndarray, vshift: int, value: float = 0.0) -> np.ndarray:
    return np.pad(audio, ((vshift, vshift), (0, 0)), constant_values=value)


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_as_the_original_computes_them(windows: int, vshift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lip, audio = rng.standard_normal((2, windows, 64)).astype(np.float32)
    distances, offset, lse_d, lse_c = original(lip, audio, vshift)
    got = lse.shifted_distances(lip, padded(audio, vshift), vshift)
    assert np.allclose(got, distances, atol=1e-5)
    sync = lse.sync_of(lse.mean_curve(got))
    assert sync.lse_d == pytest.approx(lse_d, abs=1e-5)
    assert sync.lse_c == pytest.approx(lse_c, abs=1e-5)
    assert sync.offset == offset or lse_c < 1e-5


@given(st.integers(-12, 12))
def test_shifted_audio_moves_the_offset(shift: int) -> None:
    """A positive offset: the audio comes before the video by that many frames."""
    rng = np.random.default_rng(1)
    speech = rng.standard_normal((100, 32)).astype(np.float32)
    lip, audio = speech[20:80], speech[20 + shift : 80 + shift]  # audio of a later moment: it comes early
    sync = lse.sync_of(lse.mean_curve(lse.shifted_distances(lip, padded(audio, 15), 15)))
    assert sync.offset == shift
    assert sync.lse_d < 4


def test_shifts_without_a_partner_take_no_part() -> None:
    rng = np.random.default_rng(2)
    lip, audio = rng.standard_normal((2, 30, 8)).astype(np.float32)
    distances = lse.shifted_distances(lip, padded(audio, 5, np.nan), 5)
    assert np.isnan(distances[0, :5]).all()
    assert np.isnan(distances[-1, 6:]).all()
    curve = lse.mean_curve(distances)
    for k in range(11):
        naive = [np.linalg.norm(lip[i] - audio[i + k - 5]) for i in range(30) if 0 <= i + k - 5 < 30]
        assert curve[k] == pytest.approx(np.mean(naive), abs=1e-4)


def test_a_curve_with_holes_still_has_its_numbers() -> None:
    curve = np.array([np.nan, 5.0, 3.0, 4.0, np.nan], np.float32)
    assert lse.sync_of(curve) == lse.Sync(offset=0, lse_d=3.0, lse_c=1.0)
    with pytest.raises(ValueError, match="no offset"):
        lse.sync_of(np.full(5, np.nan, np.float32))


def test_framewise_confidence_is_median_filtered() -> None:
    rng = np.random.default_rng(3)
    distances = rng.uniform(5, 10, (50, 31)).astype(np.float32)
    curve = lse.mean_curve(distances)
    naive = medfilt(float(np.median(curve)) - distances[:, curve.argmin()], 9)
    assert np.allclose(lse.framewise_confidence(distances, curve), naive, atol=1e-5)


def test_a_median_of_an_even_number_is_the_lower_middle_one() -> None:
    """As torch.median's, which the originals take."""
    curve = np.array([7.0, np.nan, 5.0, 1.0, 4.0], np.float32)
    assert lse.sync_of(curve) == lse.Sync(offset=-1, lse_d=1.0, lse_c=3.0)
    distances = np.repeat(curve[None], 20, axis=0)
    assert lse.framewise_confidence(distances, curve)[10] == 3.0


def test_the_distance_of_an_embedding_to_itself_is_torchs() -> None:
    """torch.nn.functional.pairwise_distance adds 1e-6 to every difference."""
    same = np.random.default_rng(4).standard_normal((1, 1024)).astype(np.float32)
    want = float(torch.nn.functional.pairwise_distance(torch.from_numpy(same), torch.from_numpy(same)))
    assert want == pytest.approx(32e-6, rel=1e-3)
    assert float(lse.shifted_distances(same, same, 0)[0, 0]) == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize("where", [-3.4, -0.5, 0.0, 0.25, 2.9])
def test_between_frames_a_parabolas_lowest_point_is_found(where: float) -> None:
    shifts = np.arange(15, -16, -1)
    curve = (7 + 0.3 * (shifts - where) ** 2).astype(np.float32)
    assert lse.between_frames(curve) == pytest.approx(where, abs=1e-3)
    assert lse.between_frames(curve[np.argmin(curve) :]) == len(curve[np.argmin(curve) :]) // 2, "at the edge: as it is"
