"""Pure functions on arrays: LSE-D, LSE-C, PSNR, SSIM, their alignment and their averages."""
