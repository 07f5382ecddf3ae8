"""Training: clips, augmentation, splits, and a package per model."""
