"""The rates to which pictures and sound are resampled, because SyncNet was trained on them."""

FRAME_RATE = 25  # frames a second
SAMPLE_RATE = 16000  # Hz, mono
