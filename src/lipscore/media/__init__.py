"""Reading and writing of video and audio with FFmpeg, PyAV and OpenCV."""
