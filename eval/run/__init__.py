"""Many videos: what is scored, in which order, on which threads."""
