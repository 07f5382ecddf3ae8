"""The named PSNR and SSIM variants of a pair of frames: what a record's `values` can hold.

Papers give a number and no variant. The default SSIM is the one that the paper they cite defines: Wang's, on luma.
Released evaluation scripts differ: docs/psnr-ssim.md says which of them computes what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lipscore.metrics.image.luma import luma
from lipscore.metrics.image.psnr import mse
from lipscore.metrics.image.ssim import MS_SSIM_LEAST_SIDE, Variant, ms_ssim, ssim

PEAK = 255.0
DEFAULT_PSNR = "psnr-rgb"
DEFAULT_SSIM = "ssim-wang-luma"
PSNR_PLANES = ("rgb", "luma")
_SSIM: dict[str, tuple[Variant, bool]] = {
    "ssim-wang-luma": ("wang", True),
    "ssim-wang-rgb": ("wang", False),
    "ssim-skimage-luma": ("skimage", True),
    "ssim-skimage-rgb": ("skimage", False),
}
MS_SSIM = "ms-ssim-luma"
SSIM_VARIANTS = (*_SSIM, MS_SSIM)
LEAST_SIDE = 11  # pixels: what the default SSIM needs


@dataclass(frozen=True, slots=True)
class Measured:
    """Each pair's mean squared errors by planes ("rgb", "luma") and SSIMs by variant, all float64[N].

    A variant that needs larger images than these is left out.
    """

    mse: dict[str, Tensor]
    ssim: dict[str, Tensor]


def measure(generated: Tensor, reference: Tensor, variants: Sequence[str] = (DEFAULT_SSIM,)) -> Measured:
    """Compare pairs of frames.

    Args:
        generated, reference: uint8[N, H, W, 3] BGR on one device, H and W at least LEAST_SIDE.
        variants: of SSIM_VARIANTS.

    Raises:
        ValueError: shapes differ, or images are too small.
    """
    grey_g, grey_r = luma(generated), luma(reference)
    errors = {"rgb": mse(generated, reference).cpu(), "luma": mse(grey_g, grey_r).cpu()}
    similarities: dict[str, Tensor] = {}
    for name in variants:
        if name != MS_SSIM:
            variant, on_luma = _SSIM[name]
            a, b = (grey_g, grey_r) if on_luma else (generated, reference)
            similarities[name] = ssim(a, b, data_range=PEAK, variant=variant)
        elif min(grey_g.shape[1:]) >= MS_SSIM_LEAST_SIDE:
            similarities[name] = ms_ssim(grey_g, grey_r, data_range=PEAK)
    return Measured(errors, similarities)
