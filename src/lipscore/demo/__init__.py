"""Drawn talking heads with a known offset, for the demonstration, the tests and the training."""
