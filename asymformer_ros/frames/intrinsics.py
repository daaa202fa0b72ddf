"""Pinhole intrinsics of a camera without distortion."""

from __future__ import annotations

import math
from dataclasses import dataclass

from asymformer_ros.errors import ConfigurationError

_TYPICAL_FOCAL_RATIO = 0.9  # focal length over width of common RGB-D cameras: about 58 degrees across


@dataclass(frozen=True)
class Intrinsics:
    """Image size and pinhole projection, all in pixels; the centre of the upper left pixel is (0, 0).

    Raises ConfigurationError for a size below 1 or a focal length or centre that makes no sense.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ConfigurationError(f"an image needs at least 1x1 pixels, got {self.width}x{self.height}")
        if not (0 < self.fx < math.inf and 0 < self.fy < math.inf):
            raise ConfigurationError(f"focal lengths must be above 0, got fx {self.fx} and fy {self.fy}")
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise ConfigurationError(f"the centre must be two numbers, got cx {self.cx} and cy {self.cy}")

    @classmethod
    def typical(cls, width: int, height: int) -> Intrinsics:
        """What a common RGB-D camera of this size has: 58 degrees across, centred, square pixels."""
        focal = _TYPICAL_FOCAL_RATIO * width
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
