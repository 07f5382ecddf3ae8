"""PSNR and SSIM, and how frames are paired with those of a reference."""
