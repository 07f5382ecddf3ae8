"""SSIM against scikit-image, MS-SSIM against a plain reading of the paper, and their laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d
from skimage.metrics import structural_similarity

from lipscore.media import read
from lipscore.metrics.image import ssim as module
from lipscore.metrics.image.ssim import ms_ssim, ssim

OPTIONS: dict[str, dict[str, Any]] = {
    "wang": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    "skimage": {},
}
Variant = Literal["wang", "skimage"]
H, W = 83, 131


def noisy(image: np.ndarray, amplitude: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-amplitude, amplitude + 1, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


def halves(low: int, high: int) -> np.ndarray:
    image = np.full((H, W), low, np.uint8)
    image[:, W // 2 :] = high
    return image


def constant(level: int) -> np.ndarray:
    return np.full((H, W), level, np.uint8)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def smooth(*shape: int) -> np.ndarray:
    return cv2.GaussianBlur(random(*shape), (0, 0), 3)


CHECKERS = (np.indices((H, W)).sum(0) % 2 * 255).astype(np.uint8)
PAIRS = {
    "random": (random(H, W), noisy(random(H, W), 40)),
    "smooth colour": (smooth(H, W, 3), noisy(smooth(H, W, 3), 9)),
    "colour, unrelated": (random(H, W, 3), smooth(H, W, 3)),
    "11x11": (random(11, 11), noisy(random(11, 11), 20)),
    "11x12 colour": (random(11, 12, 3), noisy(random(11, 12, 3), 20)),
    "one strip and a row": (smooth(75, 40), noisy(smooth(75, 40), 9)),
    "identical": (random(H, W), random(H, W)),
    "inverted": (smooth(H, W), 255 - smooth(H, W)),
    "black and white": (constant(0), constant(255)),
    "white and white": (constant(255), constant(255)),
    "nearly white": (constant(254), constant(255)),
    "bright, constant": (constant(200), constant(255)),
    "dark, constant": (constant(0), constant(1)),
    "checkers, inverted": (CHECKERS, 255 - CHECKERS),
    "checkers, grey": (CHECKERS, constant(128)),
    "halves with noise": (halves(0, 240), noisy(halves(0, 240), 9)),
    "halves, opposite noise": (
        noisy(halves(12, 243), 9),
        (2 * halves(12, 243).astype(int) - noisy(halves(12, 243), 9)).astype(np.uint8),
    ),
}


def batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image)[None]


def scikit(a: np.ndarray, b: np.ndarray, variant: Variant, data_range: float = 255) -> float:
    channels = {"channel_axis": -1} if a.ndim == 3 else {}
    return float(structural_similarity(a, b, data_range=data_range, **OPTIONS[variant], **channels))


@pytest.mark.parametrize("variant", ["wang", "skimage"])
@pytest.mark.parametrize("name", PAIRS)
def test_ssim_is_scikit_images(name: str, variant: Variant) -> None:
    a, b = PAIRS[name]
    got = float(ssim(batch(a), batch(b), data_range=255, variant=variant))
    assert got == pytest.approx(scikit(a, b, variant), abs=1e-9)
    as_floats = float(ssim(batch(a / 255), batch(b / 255), data_range=1, variant=variant))
    assert as_floats == pytest.approx(got, abs=1e-9)
    single = ssim(
        batch((a / 255).astype(np.float32)), batch((b / 255).astype(np.float32)), data_range=1, variant=variant
    )
    assert float(single) == pytest.approx(got, abs=1e-5)


@pytest.mark.parametrize("variant", ["wang", "skimage"])
@pytest.mark.parametrize("name", PAIRS)
def test_torch_computes_what_opencv_does(name: str, variant: Variant) -> None:
    a, b = (torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)[None] for image in PAIRS[name])
    window = module._WINDOWS[variant]
    for luminance in (True, False):
        constants = (6.5025, 58.5225)
        in_torch = module.mean_map_torch(a, b, window, constants, luminance=luminance)
        in_opencv = module._mean_map(a, b, window, 255, luminance=luminance)
        assert in_torch.shape == in_opencv.shape == a.shape[:2]
        assert in_torch.numpy() == pytest.approx(in_opencv.numpy(), abs=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU answers here")
@pytest.mark.parametrize("name", PAIRS)
def test_a_gpu_computes_what_the_cpu_does(name: str) -> None:
    a, b = (batch(image) for image in PAIRS[name])
    assert float(ssim(a.cuda(), b.cuda(), data_range=255)) == pytest.approx(float(ssim(a, b, data_range=255)), abs=1e-9)


def test_real_frames(clip_paths: dict[str, Path]) -> None:
    path = next(path for name, path in clip_paths.items() if name != "example")
    frames = [frame for _, frame in zip(range(30), read.frames_at(path, 25), strict=False)]
    for variant in ("wang", "skimage"):
        got = ssim(
            torch.from_numpy(np.stack(frames[:2])),
            torch.from_numpy(np.stack(frames[-2:])),
            data_range=255,
            variant=variant,
        )
        want = [scikit(a, b, variant) for a, b in zip(frames[:2], frames[-2:], strict=True)]
        assert got.tolist() == pytest.approx(want, abs=1e-9)


def plain_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang, Simoncelli and Bovik 2003 with scipy's filters, written for reading."""
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights /= weights.sum()

    def mean(image: np.ndarray) -> np.ndarray:
        smooth: np.ndarray = correlate1d(correlate1d(image, weights, 0), weights, 1)[5:-5, 5:-5]
        return smooth

    x, y, result = a.astype(float), b.astype(float), 1.0
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            rows, columns = x.shape[0] % 2, x.shape[1] % 2
            x, y = (np.pad(image, ((0, rows), (0, columns)), mode="edge") for image in (x, y))
            x, y = ((i[::2, ::2] + i[1::2, ::2] + i[::2, 1::2] + i[1::2, 1::2]) / 4 for i in (x, y))
        mx, my = mean(x), mean(y)
        vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        part = (2 * cov + 58.5225) / (vx + vy + 58.5225)
        if scale == 4:
            part = part * (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
        result *= max(part.mean(), 0) ** exponent
    return result


@pytest.mark.parametrize("shape", [(161, 161), (176, 240), (187, 223)])
def test_ms_ssim_is_the_papers(shape: tuple[int, int]) -> None:
    a, b = smooth(*shape), noisy(smooth(*shape), 25)
    got = ms_ssim(batch(a), batch(b), data_range=255)
    assert float(got) == pytest.approx(plain_ms_ssim(a, b), abs=1e-9)
    colour = ms_ssim(batch(np.dstack([a, a, b])), batch(np.dstack([b, b, b])), data_range=255)
    assert float(colour) == pytest.approx((2 * float(got) + 1) / 3)


def test_ms_ssim_of_contradicting_images_is_zero() -> None:
    checkers = (np.indices((176, 176)).sum(0) // 8 % 2 * 255).astype(np.uint8)
    assert float(ms_ssim(batch(checkers), batch(255 - checkers), data_range=255)) == 0


@settings(max_examples=40)
@given(st.integers(11, 90), st.integers(11, 90), st.integers(0, 2**31), st.sampled_from(["wang", "skimage"]))
def test_symmetry_range_identity_and_mirroring(height: int, width: int, seed: int, variant: Variant) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    there, back = (float(ssim(batch(x), batch(y), data_range=255, variant=variant)) for x, y in ((a, b), (b, a)))
    assert there == pytest.approx(back, abs=1e-12)
    assert -1 <= there <= 1
    assert float(ssim(batch(a), batch(a), data_range=255, variant=variant)) == 1
    mirrored = float(ssim(batch(a[:, ::-1].copy()), batch(b[:, ::-1].copy()), data_range=255, variant=variant))
    assert mirrored == pytest.approx(there, abs=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(0, 40), st.integers(5, 60))
def test_more_noise_never_raises_it(seed: int, amplitude: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    clean = cv2.GaussianBlur(rng.uniform(0, 255, (180, 170)), (0, 0), 3)
    noise = rng.standard_normal(clean.shape)
    less_noisy, noisier = (batch(clean + s * noise) for s in (amplitude, amplitude + more))
    for score in (ssim, ms_ssim):
        assert float(score(batch(clean), noisier, data_range=255)) <= float(
            score(batch(clean), less_noisy, data_range=255)
        )


def test_batches_are_the_single_images(tmp_path: Path) -> None:
    a, b = torch.from_numpy(random(3, 40, 50, 3)), torch.from_numpy(noisy(random(3, 40, 50, 3), 30))
    together = ssim(a, b, data_range=255)
    assert together.tolist() == [float(ssim(a[k : k + 1], b[k : k + 1], data_range=255)) for k in range(3)]
    assert together.dtype == torch.float64


@pytest.mark.parametrize("shape", [(1, 10, 40), (1, 40, 10), (40, 40), (1, 1, 40, 40, 3)])
def test_too_small_or_no_image(shape: tuple[int, ...]) -> None:
    zeros = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(zeros, zeros, data_range=255)


def test_ms_ssim_says_how_large_images_must_be() -> None:
    zeros = torch.zeros((1, 160, 300), dtype=torch.uint8)
    with pytest.raises(ValueError, match="at least 161 pixels"):
        ms_ssim(zeros, zeros, data_range=255)
