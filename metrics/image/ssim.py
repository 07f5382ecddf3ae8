"""SSIM and MS-SSIM.

Two variants, because published numbers come from both:

- "wang": Wang, Bovik, Sheikh and Simoncelli, IEEE Trans. Image Processing 13(4), 2004, section III: Gaussian window of
  11x11 with sigma 1.5, weighted (biased) variances, K1 = 0.01, K2 = 0.03, the mean over windows that lie wholly inside;
- "skimage": scikit-image's defaults (skimage/metrics/_structural_similarity.py): uniform window of 7x7, sample
  covariance (divided by 48, not 49), the same K and the same mean.

MS-SSIM: Wang, Simoncelli and Bovik, Asilomar 2003: five scales, 2x2 means between them, their exponents; needs more
than 160 pixels on each side.

With p = x + y and q = x - y, both formulas need only the window's mean and variance of p and of q. This takes four
filters instead of five, and identical images give exactly 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipscore.metrics.image.measure import MS_SSIM_LEAST_SIDE, Window

K1, K2 = 0.01, 0.03
SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
STRIP_ROWS = 64  # fits a core's second-level cache at 1080p


@dataclass(frozen=True, slots=True)
class _Window:
    weights: NDArray[np.float64]  # one axis of the separable window; they sum to 1
    covariance_scale: float

    @property
    def radius(self) -> int:
        return len(self.weights) // 2


def _gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    offsets = np.arange(size) - size // 2
    weights: NDArray[np.float64] = np.exp(-0.5 * np.square(offsets / sigma))
    weights /= weights.sum()
    return weights


_WINDOWS: dict[str, _Window] = {
    "wang": _Window(_gaussian(11, 1.5), 1.0),
    "skimage": _Window(np.full(7, 1 / 7), 49 / 48),
}


def ssim(a: Tensor, b: Tensor, *, data_range: float, variant: Window = "wang") -> Tensor:
    """SSIM of each pair of images, symmetric in the two.

    Args:
        a, b: [N, H, W] or [N, H, W, C], uint8 or floating point, on one device; channels count equally.
        data_range: 255 for 8 bits, 1 for floats in 0..1.

    Returns:
        float64[N] on the CPU, each at most 1.

    Raises:
        ValueError: shapes or dtypes differ, or a side is shorter than the window (11 or 7).
    """
    window = _WINDOWS[variant]
    x, y = _planes(a, b, len(window.weights))
    return _mean_map(x, y, window, data_range, luminance=True).mean(1)


def ms_ssim(a: Tensor, b: Tensor, *, data_range: float) -> Tensor:
    """Multi-scale SSIM of each pair, with the Gaussian window; arguments and result are those of `ssim`.

    An odd last row or column is repeated before the means of 2x2. A scale whose mean contrast-structure term is
    negative (images that contradict each other) counts as 0, since its fractional power is not real.

    Raises:
        ValueError: as in `ssim`, or a side has 160 pixels or fewer.
    """
    window = _WINDOWS["wang"]
    x, y = _planes(a, b, MS_SSIM_LEAST_SIDE)
    scores = torch.ones(x.shape[:2], dtype=torch.float64)
    last = len(SCALE_EXPONENTS) - 1
    for scale, exponent in enumerate(SCALE_EXPONENTS):
        if scale:
            x, y = _halve(x), _halve(y)
        scores *= _mean_map(x, y, window, data_range, luminance=scale == last).clamp(min=0) ** exponent
    return scores.mean(1)


def _planes(a: Tensor, b: Tensor, least_side: int) -> tuple[Tensor, Tensor]:
    """Both as [N, C, H, W], checked."""
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"the two differ in shape or dtype: {tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}")
    if a.dim() not in (3, 4) or min(a.shape[1:3]) < least_side:
        raise ValueError(
            f"images [N, H, W(, C)] of at least {least_side} pixels a side are needed, got {tuple(a.shape)}"
        )
    if a.dim() == 3:
        return a.unsqueeze(1), b.unsqueeze(1)
    return a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2)


def _halve(x: Tensor) -> Tensor:
    """Means of 2x2 in float64: [N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)]."""
    padding = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
    padded = torch.nn.functional.pad(x.to(torch.float64), padding, mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 2)


def _mean_map(x: Tensor, y: Tensor, window: _Window, data_range: float, *, luminance: bool) -> Tensor:
    """float64[N, C]: SSIM (or, without luminance, its contrast-structure part), averaged over window positions."""
    constants = ((K1 * data_range) ** 2, (K2 * data_range) ** 2)
    if x.device.type != "cpu":
        return mean_map_torch(x, y, window, constants, luminance=luminance).cpu()
    means = [
        [_mean_map_opencv(p.numpy(), q.numpy(), window, constants, luminance) for p, q in zip(m, n, strict=True)]
        for m, n in zip(x, y, strict=True)
    ]
    return torch.tensor(means, dtype=torch.float64)


def mean_map_torch(x: Tensor, y: Tensor, window: _Window, constants: tuple[float, float], *, luminance: bool) -> Tensor:
    """The mean map in torch and double precision, for GPUs: float64[N, C] from [N, C, H, W]."""
    n, c = x.shape[:2]
    x, y = x.to(torch.float64).flatten(0, 1), y.to(torch.float64).flatten(0, 1)
    p, q = x + y, x - y
    maps = torch.stack((p, q, p * p, q * q), 1).flatten(0, 1).unsqueeze(1)
    weights = torch.from_numpy(window.weights).to(x.device)
    maps = torch.nn.functional.conv2d(maps, weights.view(1, 1, -1, 1))
    maps = torch.nn.functional.conv2d(maps, weights.view(1, 1, 1, -1))
    mean_p, mean_q, square_p, square_q = maps.view(n * c, 4, *maps.shape[2:]).unbind(1)
    mean_p, mean_q = mean_p.square(), mean_q.square()
    scale, (c1, c2) = window.covariance_scale, constants
    var_p = scale * (square_p - mean_p) + 2 * c2
    var_q = scale * (square_q - mean_q)
    result = (var_p - var_q) / (var_p + var_q)
    if luminance:
        result = result * (mean_p - mean_q + 2 * c1) / (mean_p + mean_q + 2 * c1)
    return result.mean((1, 2)).view(n, c)


def _mean_map_opencv(
    x: NDArray[Any], y: NDArray[Any], window: _Window, constants: tuple[float, float], luminance: bool
) -> float:
    """The mean map of one pair [H, W] on the CPU, in double precision, by strips of rows that stay in the cache.

    OpenCV's filters are about ten times as fast as torch's convolution of one channel with one kernel. OpenCV releases
    the GIL, so frames can be processed in parallel threads.
    """
    radius, (height, width) = window.radius, x.shape
    if x.dtype != np.uint8:
        x, y = x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    total = 0.0
    for top in range(0, height - 2 * radius, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS + 2 * radius)
        total += _strip_sum(np.ascontiguousarray(x[rows]), np.ascontiguousarray(y[rows]), window, constants, luminance)
    return total / float((height - 2 * radius) * (width - 2 * radius))


def _strip_sum(
    x: NDArray[Any], y: NDArray[Any], window: _Window, constants: tuple[float, float], luminance: bool
) -> float:
    """The map's sum over the positions where the window lies wholly inside the strip."""
    inside = tuple(slice(window.radius, side - window.radius) for side in x.shape)

    def mean(values: Any) -> Any:
        return cv2.sepFilter2D(values, -1, window.weights, window.weights)[inside]

    # Single precision is not enough: the variance of a flat bright area is a difference of two large numbers.
    scale, (c1, c2) = window.covariance_scale, constants
    p, q = cv2.add(x, y, dtype=cv2.CV_64F), cv2.subtract(x, y, dtype=cv2.CV_64F)
    mean_p, mean_q = mean(p), mean(q)
    square_p, square_q = mean(cv2.multiply(p, p, dst=p)), mean(cv2.multiply(q, q, dst=q))
    mean_p, mean_q = cv2.multiply(mean_p, mean_p), cv2.multiply(mean_q, mean_q)
    var_p = cv2.addWeighted(square_p, scale, mean_p, -scale, 2 * c2)
    var_q = cv2.addWeighted(square_q, scale, mean_q, -scale, 0)
    above, below = cv2.subtract(var_p, var_q), cv2.add(var_p, var_q)
    if luminance:
        above = cv2.multiply(above, cv2.addWeighted(mean_p, 1, mean_q, -1, 2 * c1), dst=above)
        below = cv2.multiply(below, cv2.addWeighted(mean_p, 1, mean_q, 1, 2 * c1), dst=below)
    return float(cv2.sumElems(cv2.divide(above, below, dst=above))[0])
