"""A run on a Ray cluster: workers load the networks once and score one video per call; only the driver writes."""
