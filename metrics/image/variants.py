"""The named PSNR and SSIM variants, the possible keys of a record's `values`.

Papers give a number, but not the variant. The default SSIM is the one that the cited paper defines: Wang's, on luma.
Released evaluation scripts differ; docs/measures/psnr-ssim.md says what each of them computes.
"""

from __future__ import annotations

from functools import partial

from lipscore.metrics.image.measure import MS_SSIM_LEAST_SIDE, PEAK, Images, Mean, Planes, Variant, Window

LEAST_SIDE = 11  # pixels; the default SSIM needs this, and smaller frames are not compared


def psnr_of(images: Images, planes: Planes) -> float:
    """PSNR of a pair in dB."""
    import torch

    from lipscore.metrics.image.psnr import psnr

    return float(psnr(torch.tensor([images.mse(planes)], dtype=torch.float64), PEAK)[0])


def ssim_of(images: Images, planes: Planes, window: Window) -> float:
    """SSIM of a pair."""
    from lipscore.metrics.image.ssim import ssim

    return float(ssim(*images.planes(planes), data_range=PEAK, variant=window)[0])


def ms_ssim_of(images: Images) -> float:
    """MS-SSIM of a pair, on luma."""
    from lipscore.metrics.image.ssim import ms_ssim

    return float(ms_ssim(*images.planes("luma"), data_range=PEAK)[0])


class PooledPsnr:
    """PSNR in dB of the mean squared error over all pixel values of all pairs."""

    def __init__(self, planes: Planes) -> None:
        self._planes: Planes = planes
        self._squared = 0.0
        self._n_values = 0

    def look(self, images: Images) -> tuple[float, int]:
        """(the pair's sum of squared differences, its number of pixel values)."""
        return images.squared_error(self._planes), images.planes(self._planes)[0].numel()

    def add(self, seen: tuple[float, int]) -> None:
        """Add a pair's sums; a single pair has no pooled value."""
        self._squared += seen[0]
        self._n_values += seen[1]

    def result(self) -> float:
        """The pooled PSNR in dB."""
        import torch

        from lipscore.metrics.image.psnr import pooled_psnr

        return pooled_psnr(torch.tensor([self._squared], dtype=torch.float64), self._n_values, PEAK)


def _psnr_variant(planes: Planes) -> Variant:
    return Variant(f"psnr-{planes}", partial(Mean, partial(psnr_of, planes=planes)), "dB")


def _pooled_variant(planes: Planes) -> Variant:
    return Variant(f"psnr-{planes}-pooled", partial(PooledPsnr, planes), "dB")


def _ssim_variant(window: Window, planes: Planes, asked: bool = True) -> Variant:
    of = partial(ssim_of, planes=planes, window=window)
    return Variant(f"ssim-{window}-{planes}", partial(Mean, of), least_side=LEAST_SIDE, asked=asked)


PSNR_RGB, PSNR_LUMA = _psnr_variant("rgb"), _psnr_variant("luma")
PSNR_RGB_POOLED, PSNR_LUMA_POOLED = _pooled_variant("rgb"), _pooled_variant("luma")
SSIM_WANG_LUMA = _ssim_variant("wang", "luma", asked=False)
MS_SSIM_LUMA = Variant("ms-ssim-luma", partial(Mean, ms_ssim_of), least_side=MS_SSIM_LEAST_SIDE, asked=True)

# in the order of a record's values
VARIANTS: tuple[Variant, ...] = (
    PSNR_RGB,
    PSNR_LUMA,
    SSIM_WANG_LUMA,
    _ssim_variant("wang", "rgb"),
    _ssim_variant("skimage", "luma"),
    _ssim_variant("skimage", "rgb"),
    MS_SSIM_LUMA,
    PSNR_RGB_POOLED,
    PSNR_LUMA_POOLED,
)
