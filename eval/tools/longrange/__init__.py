"""Offsets beyond SyncNet's range: detection, calibrated answers, and mending."""
