"""PSNR: 10 log10(data_range^2 / MSE), in dB.

Papers report the mean of the frames' PSNR; codec developers report the PSNR of the pooled MSE, like FFmpeg's psnr
filter. By Jensen's inequality the mean is never lower than the pooled value. Identical frames have no finite PSNR: they
count as CAP_DB, as in TalkLip's evaluation/visual_quality.py. Higher values are clipped to CAP_DB too, so that a nearly
identical frame never beats an identical one. No value is ever infinite.
"""

from __future__ import annotations

import cv2
import torch
from torch import Tensor

CAP_DB = 100.0


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Sum of squared differences of each pair, [N, ...] and [N, ...] -> float64[N]; exact for uint8.

    The arithmetic does not use the arguments' dtype: squares of uint8 differences wrap around at 256, which turns 21 dB
    into 28 dB in a released script.

    Raises:
        ValueError: shapes or dtypes differ, or an axis is empty.
    """
    _check_pair(a, b)
    if a.dtype == torch.uint8 and a.device.type == "cpu":
        pairs = zip(a.flatten(1).numpy(), b.flatten(1).numpy(), strict=True)
        # OpenCV squares a square root; rounding restores the integer sum.
        return torch.tensor([round(cv2.norm(x, y, cv2.NORM_L2SQR)) for x, y in pairs], dtype=torch.float64)
    return (a.to(torch.float64) - b.to(torch.float64)).square().flatten(1).sum(1)


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error of each pair over all pixels and channels: [N, ...] and [N, ...] -> float64[N].

    Raises:
        ValueError: as in squared_error.
    """
    return squared_error(a, b) / a[0].numel()


def psnr(error: Tensor, data_range: float) -> Tensor:
    """PSNR of mean squared errors: float64[...] -> float64[...] in dB, at most CAP_DB.

    Args:
        error: mean squared errors, in the square of the pixels' unit.
        data_range: the range of pixel values: 255 for 8 bits, 1 for floats in 0..1.

    Example:
        >>> import torch
        >>> psnr(torch.tensor([1.0, 0.0], dtype=torch.float64), data_range=255.0).round(decimals=6).tolist()
        [48.130804, 100.0]
    """
    return (10 * torch.log10(data_range**2 / error)).clamp(max=CAP_DB)


def pooled_psnr(squared_errors: Tensor, n_values: int, data_range: float) -> float:
    """PSNR in dB of all pairs together, from float64[N] sums of squares and the total number of pixel values."""
    return float(psnr(squared_errors.sum() / n_values, data_range))


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"the two differ in shape or dtype: {tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}")
    if a.dim() < 2 or a.numel() == 0:
        raise ValueError(f"a batch of non-empty images is needed, got the shape {tuple(a.shape)}")
