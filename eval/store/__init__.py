"""The files of a run: records, scores file and manifest, and the code that reads, summarises and merges them."""
