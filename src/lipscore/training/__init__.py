"""What trains the models: clips, augmentation, splits, and a package per model."""
