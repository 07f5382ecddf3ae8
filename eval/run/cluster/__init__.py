"""A run on a Ray cluster: workers that load the networks once, one video per call, the driver alone writes."""
