"""Input sizes of the networks that this package makes. Imports nothing: the command line's help needs it."""

INPUT_SIZES = {"full": (480, 640), "small": (256, 320), "rooms": (288, 384)}
"""(height, width) that each of `asymformer_ros.network.CONFIGS` is made for."""
