"""The networks that score lips against sound, and their passes over a video."""
