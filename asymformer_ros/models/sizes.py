"""Input sizes of networks. Imports next to nothing: the command line's help needs it."""

from asymformer_ros.errors import ConfigurationError

STRIDE = 32
"""Of the network's coarsest map, in pixels: each edge of an input size is a multiple of it."""

_LARGEST = 4096  # pixels: beyond any network of this kind, and a file of anyone may ask for it

INPUT_SIZES = {"full": (480, 640), "small": (256, 320), "rooms": (288, 384)}
"""(height, width) that each of `asymformer_ros.network.CONFIGS` is made for."""


def read_size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH, such as 480x640, to (height, width). Raises ValueError for anything else."""
    height, width = (int(part) for part in text.lower().split("x"))
    return height, width


def size_name(size: tuple[int, int]) -> str:
    """(height, width) as `read_size` takes it."""
    return "{}x{}".format(*size)


def check_size(size: tuple[int, int]) -> None:
    """Raise ConfigurationError, which names the nearest that is one, where (height, width) is no input size."""
    height, width = size
    if max(size) > _LARGEST:
        raise ConfigurationError(f"input size must be at most {_LARGEST}x{_LARGEST}, got {size_name(size)}")
    if min(size) < STRIDE or height % STRIDE or width % STRIDE:
        raise ConfigurationError(
            f"input size must be multiples of {STRIDE}, got {size_name(size)} (height x width): "
            f"use {nearest_edge(height)}x{nearest_edge(width)}"
        )


def nearest_edge(pixels: float) -> int:
    """The multiple of the network's stride that is nearest to a height or width, at least one stride."""
    return max(STRIDE, round(pixels / STRIDE) * STRIDE)
