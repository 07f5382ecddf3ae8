"""The harness: one video, many videos, the records, and the command line."""
