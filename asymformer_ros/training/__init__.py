"""Training of AsymFormer on labelled RGB-D frames: recipe, data, loop, state, initial weights."""
