"""Generators of talking-head video that make lips follow a sound, one folder each."""
