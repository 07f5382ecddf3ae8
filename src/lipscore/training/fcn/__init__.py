"""The long-range head: embedded clips, files made of them, the training, the evaluation."""
