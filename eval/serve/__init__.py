"""`lipscore serve`: a page to drop a video on, and the API behind it."""
