"""The scores: LSE-D, LSE-C, PSNR and SSIM as functions of arrays, their averages, and the catalogue of all scores."""
