"""Video and audio in and out, by FFmpeg, PyAV and OpenCV."""
