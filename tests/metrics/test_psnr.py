"""PSNR against scikit-image, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio

from lipscore.metrics.image.luma import fixed_point_luma, luma
from lipscore.metrics.image.psnr import CAP_DB, mse, pooled_psnr, psnr, squared_error

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))


def batch(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images))


def noisy(image: np.ndarray, amplitude: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-amplitude, amplitude + 1, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(11, 11), (37, 53, 3), (240, 321, 3)])
@pytest.mark.parametrize("amplitude", [1, 9, 255])
def test_psnr_is_scikit_images(shape: tuple[int, ...], amplitude: int) -> None:
    a = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    b = noisy(a, amplitude)
    want = peak_signal_noise_ratio(a, b, data_range=255)
    assert float(psnr(mse(batch(a), batch(b)), 255)[0]) == pytest.approx(want, abs=1e-4)
    as_floats = mse(batch(a / 255), batch(b / 255))
    assert float(psnr(as_floats, 1)[0]) == pytest.approx(want, abs=1e-4)


def test_subtraction_does_not_wrap_around() -> None:
    a, b = np.full((16, 16, 3), 250, np.uint8), np.full((16, 16, 3), 10, np.uint8)
    assert float(mse(batch(b), batch(a))[0]) == float(mse(batch(a), batch(b))[0]) == 240**2


def test_each_pair_of_a_batch_has_its_own_value_and_pooling_weighs_errors() -> None:
    a = np.full((8, 8, 3), 100, np.uint8)
    errors = mse(batch(a, a, a), batch(a, a + 1, a + 10))
    assert errors.tolist() == [0, 1, 100]
    assert psnr(errors, 255).tolist() == pytest.approx([100, 48.1308036, 28.1308036])
    pooled = pooled_psnr(squared_error(batch(a, a, a), batch(a, a + 1, a + 10)), 3 * a.size, 255)
    assert pooled == pytest.approx(10 * np.log10(255**2 * 3 / 101))


def test_nothing_is_infinite_and_nothing_beats_identity() -> None:
    a = np.zeros((1200, 1600, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0] = 1
    assert float(psnr(mse(batch(a), batch(b)), 255)[0]) == CAP_DB
    assert float(psnr(mse(batch(a), batch(a)), 255)[0]) == CAP_DB
    assert pooled_psnr(squared_error(batch(a), batch(a)), a.size, 255) == CAP_DB


@given(IMAGES, st.integers(0, 2**31))
def test_symmetric_and_exact(a: np.ndarray, seed: int) -> None:
    b = np.random.default_rng(seed).integers(0, 256, a.shape, dtype=np.uint8)
    want = int(((a.astype(int) - b.astype(int)) ** 2).sum())
    assert float(squared_error(batch(a), batch(b))[0]) == want
    assert float(squared_error(batch(b), batch(a))[0]) == want


@settings(max_examples=50)
@given(st.integers(0, 1000), st.integers(0, 60), st.integers(1, 60))
def test_more_noise_never_raises_it(seed: int, amplitude: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 1, (1, 24, 24))
    noise = rng.standard_normal(a.shape)
    errors = [mse(torch.from_numpy(a), torch.from_numpy(a + s / 255 * noise)) for s in (amplitude, amplitude + more)]
    assert float(psnr(errors[1], 1)[0]) <= float(psnr(errors[0], 1)[0])


def test_luma_is_bt601_and_one_on_every_device() -> None:
    levels = np.arange(256, dtype=np.uint8)
    rng = np.random.default_rng(0)
    frames = batch(rng.integers(0, 256, (600, 700, 3), dtype=np.uint8))
    got = luma(frames)
    assert torch.equal(got, fixed_point_luma(frames))
    exact = frames.numpy().astype(float) @ np.array([0.114, 0.587, 0.299])
    assert np.abs(got.numpy() - exact).max() <= 0.51
    greys = torch.from_numpy(np.repeat(levels, 3).reshape(1, 16, 16, 3))
    assert torch.equal(luma(greys).flatten(), torch.from_numpy(levels))
    assert luma(frames.double()).numpy() == pytest.approx(exact)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 5), np.uint8), "differ"),
        (np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.float32), "differ"),
        (np.zeros((1, 0, 4), np.uint8), np.zeros((1, 0, 4), np.uint8), "non-empty"),
    ],
)
def test_mismatched_images_are_refused(a: np.ndarray, b: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        squared_error(torch.from_numpy(a), torch.from_numpy(b))
