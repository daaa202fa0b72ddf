"""What goes into segmentation and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError

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
            raise FrameError(f"rgb must be (H, W, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}")
        if self.depth.ndim != 2 or self.depth.dtype != np.float32:
            raise FrameError(f"depth must be (H, W) float32, got {self.depth.shape} {self.depth.dtype}")
        if self.rgb.shape[:2] != self.depth.shape:
            raise FrameError(
                f"colour is {self.rgb.shape[1]}x{self.rgb.shape[0]} but depth is "
                f"{self.depth.shape[1]}x{self.depth.shape[0]}: register depth to the colour camera"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.depth.shape


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds spent in each stage of one segmentation."""

    preprocess: float
    inference: float
    postprocess: float

    @property
    def total(self) -> float:
        return self.preprocess + self.inference + self.postprocess


@dataclass(frozen=True)
class Segmentation:
    """Class of each pixel of one frame, in the frame's own size.

    labels: (H, W) uint8, class index 0..N-1, UNLABELLED (255) where there is none.
    confidence: (H, W) uint8, the softmax maximum scaled to 0..255, or None where nobody asked for it.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    times: StageTimes = field(default=StageTimes(0.0, 0.0, 0.0), compare=False)
