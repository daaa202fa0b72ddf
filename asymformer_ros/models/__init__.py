"""Models: label set, card, weights, where they come from. Each module here says what it needs."""
