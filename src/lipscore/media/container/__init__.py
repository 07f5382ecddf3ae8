"""What a file holds: its streams, packets and their times."""
