"""Runs over many videos: which videos are scored, in which order and on which threads."""
