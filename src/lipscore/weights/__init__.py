"""Published weight files: a catalogue, and code to find, fetch, verify and load them."""
