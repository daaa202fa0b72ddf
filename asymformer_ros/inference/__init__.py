"""What runs a model on frames: backends, and which of them serves."""
