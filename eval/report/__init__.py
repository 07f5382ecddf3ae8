"""Charts and sentences about a run's results."""
