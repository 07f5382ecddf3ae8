"""PSNR and SSIM, and the pairing of frames with a reference's frames."""
