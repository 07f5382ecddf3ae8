"""From a video file to a curve: protocols, shots, tracks, crops, audio, models."""
