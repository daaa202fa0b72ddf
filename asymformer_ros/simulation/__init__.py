"""A simulated world that a camera can look at."""
