"""Wav2Lip (Prajwal et al. 2020): the lips of a video, or of a still image, made to follow another sound.

The steps are those of github.com/Rudrabha/Wav2Lip at 5c90fa9, inference.py and audio.py, to the number.
docs/commands/generate.md names each, and what lipscore does otherwise.
"""
