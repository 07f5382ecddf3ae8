"""Wav2Lip (Prajwal et al. 2020): make the lips of a video or a still image follow another sound.

The steps and their numbers are those of github.com/Rudrabha/Wav2Lip at 5c90fa9, inference.py and audio.py.
docs/commands/generate.md lists the steps and the differences of lipscore.
"""
