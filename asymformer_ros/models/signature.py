"""The inputs and outputs of a model, by name and shape, and how its ONNX file is marked. Needs no PyTorch, no onnx."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.depth import Depth, depth_bytes
from asymformer_ros.onnx_graph.names import CAMERA_INPUTS, LABEL_OUTPUTS

FORMAT = "asymformer_onnx"
VERSION = "1"
"""In the metadata of the files that this package exports."""


@dataclass(frozen=True)
class Signature:
    """What a model gives for camera images, `batch` at a time.

    It takes rgb (batch, H, W, 3) uint8 and depth (batch, H, W, 2) uint8 as `depth_bytes` packs it.
    outputs: LABEL_OUTPUTS, each (batch, H, W) uint8, or the name of one output of float logits (batch, C, H, W).
    """

    batch: int = 1
    outputs: tuple[str, ...] = LABEL_OUTPUTS

    @property
    def gives_labels(self) -> bool:
        """Whether labels and confidence come out; otherwise it is logits."""
        return self.outputs == LABEL_OUTPUTS

    def shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs, by name, for images of `size`, (height, width)."""
        return {name: (self.batch, *size, last) for name, last in zip(CAMERA_INPUTS, (3, 2), strict=True)}


def camera_feeds(rgb: NDArray[np.uint8], depth: Depth) -> dict[str, NDArray[np.uint8]]:
    """The inputs, by name, that one frame becomes, for a batch of 1.

    rgb (h, w, 3) uint8 and depth (h, w) float32 metres, NaN where unknown, or uint16 millimetres, 0 where unknown.
    """
    return dict(zip(CAMERA_INPUTS, (np.ascontiguousarray(rgb)[None], depth_bytes(depth)[None]), strict=True))
