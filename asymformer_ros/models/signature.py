"""The inputs and outputs of a model, by name and shape, and how its ONNX file is marked. Needs no PyTorch, no onnx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.models.normalization import Normalization, normalize
from asymformer_ros.onnx_graph.names import LABEL_OUTPUTS

FORMAT = "asymformer_onnx"
VERSION = "1"
"""In the metadata of the files that this package exports."""

CAMERA_INPUTS = ("rgb", "depth")


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, `batch` images at a time.

    takes_camera_images: True: rgb (batch, H, W, 3) uint8 and depth (batch, H, W, 2) uint8 as `depth_bytes` packs it;
    False: rgb (batch, 3, H, W) and depth (batch, 1, H, W) float32, normalised. rgb, depth: names of the inputs.
    outputs: LABEL_OUTPUTS, each (batch, H, W) uint8, or the name of one output of float logits (batch, C, H, W).
    """

    batch: int = 1
    takes_camera_images: bool = True
    rgb: str = CAMERA_INPUTS[0]
    depth: str = CAMERA_INPUTS[1]
    outputs: tuple[str, ...] = LABEL_OUTPUTS

    @property
    def gives_labels(self) -> bool:
        """Whether labels and confidence come out; otherwise it is logits."""
        return self.outputs == LABEL_OUTPUTS

    def shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs, by name, for images of `size`, (height, width)."""
        if self.takes_camera_images:
            return {self.rgb: (self.batch, *size, 3), self.depth: (self.batch, *size, 2)}
        return {self.rgb: (self.batch, 3, *size), self.depth: (self.batch, 1, *size)}

    def feeds(
        self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], normalization: Normalization
    ) -> dict[str, NDArray[Any]]:
        """The inputs, by name, that one frame becomes, for a batch of 1.

        rgb (h, w, 3) uint8 and depth (h, w) float32 metres, NaN where unknown.
        """
        if self.takes_camera_images:
            return {self.rgb: np.ascontiguousarray(rgb)[None], self.depth: depth_bytes(depth)[None]}
        colour, metres = normalize(rgb, depth, normalization)
        return {self.rgb: colour, self.depth: metres}
