"""One frame of an RGB-D camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import Depth, depth_in_metres, metres_from_millimetres
from asymformer_ros.frames.images import read_depth, read_rgb

Image = NDArray[Any] | str | PathLike[str]
"""An image as an array, or the path of its file."""

UNLABELLED = 255
"""Label of a pixel without a class: below the confidence limit, or outside every class."""


@dataclass(frozen=True)
class RgbdFrame:
    """One colour image and the depth image registered to it.

    rgb: (H, W, 3) uint8, RGB order. depth: (H, W) float32 metres, NaN where unknown.
    Raises FrameError where shapes or types differ from that.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise FrameError(f"rgb must be (H, W, 3) uint8 in RGB order, got {self.rgb.shape} {self.rgb.dtype}")
        if self.depth.ndim != 2 or self.depth.dtype != np.float32:
            raise FrameError(f"depth must be (H, W) float32, got {self.depth.shape} {self.depth.dtype}")
        if self.rgb.shape[:2] != self.depth.shape:
            raise FrameError(
                f"colour is {self.rgb.shape[1]}x{self.rgb.shape[0]} but depth is "
                f"{self.depth.shape[1]}x{self.depth.shape[0]}: register depth to the colour camera"
            )

    @classmethod
    def of(cls, rgb: Image, depth: Image) -> RgbdFrame:
        """A frame of what people have: arrays, or paths of image files.

        rgb: (H, W, 3) uint8, RGB order (OpenCV reads BGR: turn it round with `[..., ::-1]`). depth: (H, W) uint16
        millimetres, or float metres; what is not above 0 and finite is unknown. Files are read as they are stored,
        whatever their EXIF orientation says. Raises FrameError where anything else comes.
        """
        colour = read_rgb(Path(rgb)) if isinstance(rgb, str | PathLike) else np.ascontiguousarray(rgb)
        metres = depth_in_metres(read_depth(Path(depth)) if isinstance(depth, str | PathLike) else np.asarray(depth))
        return cls(colour, metres)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.rgb.shape[:2]

    @property
    def raw_depth(self) -> Depth:
        """Depth as the camera gave it: `depth`, or (H, W) uint16 millimetres, 0 where unknown."""
        return self.depth


class MillimetreFrame(RgbdFrame):
    """A frame whose depth is in whole millimetres; metres are made when they are first asked for.

    It saves the way to metres and back: networks take millimetres.
    """

    millimetres: NDArray[np.uint16]

    def __init__(self, rgb: NDArray[np.uint8], millimetres: NDArray[np.uint16]) -> None:
        """rgb: (H, W, 3) uint8, RGB order. millimetres: (H, W) uint16, 0 where unknown. Raises FrameError."""
        if millimetres.dtype != np.uint16 or millimetres.shape != rgb.shape[:2]:
            raise FrameError(
                f"depth must be {rgb.shape[:2]} uint16 millimetres, got {millimetres.shape} {millimetres.dtype}"
            )
        object.__setattr__(self, "rgb", rgb)
        object.__setattr__(self, "millimetres", millimetres)

    @cached_property
    def depth(self) -> NDArray[np.float32]:  # type: ignore[override]
        """(H, W) float32 metres, NaN where unknown."""
        return metres_from_millimetres(self.millimetres)

    @property
    def raw_depth(self) -> Depth:
        """The millimetres."""
        return self.millimetres
