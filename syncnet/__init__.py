"""From a video file to audio and lip embeddings: media, shots, faces, tracks, crops, audio, models."""
