"""Published weight files: the catalogue, and how a file is found, fetched, verified and loaded."""
