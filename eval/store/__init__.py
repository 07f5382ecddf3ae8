"""What a run leaves on disk: records, the scores file, the manifest, and what is read back from them."""
