"""LSE-D, LSE-C, offset, PSNR and SSIM of talking-head video."""

__version__ = "0.1.0"
