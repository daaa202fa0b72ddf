"""Input sizes of the networks that this package makes. Imports nothing: the command line's help needs it."""

INPUT_SIZES = {"full": (480, 640), "small": (256, 320), "rooms": (288, 384)}
"""(height, width) that each of `asymformer_ros.network.CONFIGS` is made for."""


def read_size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH, such as 480x640, to (height, width). Raises ValueError for anything else."""
    height, width = (int(part) for part in text.lower().split("x"))
    return height, width


def size_name(size: tuple[int, int]) -> str:
    """(height, width) as `read_size` takes it."""
    return "{}x{}".format(*size)
