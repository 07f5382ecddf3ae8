"""The contents of a media file: its streams, its packets and their times."""
