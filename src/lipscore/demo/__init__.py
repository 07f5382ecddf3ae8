"""Drawn talking heads whose true offset is known: for the demonstration, the tests and the training."""
