"""The stages from a video file to a sync curve: protocols, shots, tracks, crops, audio, models."""
