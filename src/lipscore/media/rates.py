"""The rates that pictures and sound are brought to, because SyncNet was trained on them."""

FRAME_RATE = 25  # frames a second
SAMPLE_RATE = 16000  # Hz, mono
