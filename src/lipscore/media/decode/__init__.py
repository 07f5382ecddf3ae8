"""Frames and sound, decoded."""
