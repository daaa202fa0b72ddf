"""One HTML page that shows frames, labels and scores; it needs no server and no network."""
