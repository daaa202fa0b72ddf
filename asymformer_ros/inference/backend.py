"""Inference backends: what runs the network. Each module here is the only importer of its library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import BackendError
from asymformer_ros.frames.depth import Depth
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.models.card import ModelCard


class Prediction(NamedTuple):
    """labels: (..., h, w) uint8 class index. confidence: the same shape, uint8, softmax maximum times 255, or None."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None

    def first(self) -> Prediction:
        """Of a batch, the answer to its first image."""
        return Prediction(self.labels[0], None if self.confidence is None else self.confidence[0])

    @staticmethod
    def joined(parts: Sequence[Prediction]) -> Prediction:
        """Batches (N, h, w) one behind the other; one alone is not copied."""
        if len(parts) == 1:
            return parts[0]
        shares = [part.confidence for part in parts if part.confidence is not None]
        return Prediction(np.concatenate([part.labels for part in parts]), np.concatenate(shares) if shares else None)


class InferenceBackend(Protocol):
    """Runs one model at its own input size. Used by one thread at a time."""

    @property
    def name(self) -> str:
        """What serves, for people: library, device, precision, e.g. "torch cpu fp32"."""

    @property
    def card(self) -> ModelCard:
        """What the model is: input size, label set, name."""

    @property
    def model_sha256(self) -> str:
        """Which model it is: see `Model.model_sha256`."""

    def infer(
        self,
        rgb: NDArray[np.uint8],
        depth: Depth,
        *,
        with_confidence: bool = False,
        smoothing: Sequence[TemporalSmoothing] = (),
    ) -> Prediction:
        """Classify each pixel of rgb (h, w, 3) uint8 with depth (h, w), metres or millimetres as `Depth` says.

        Or of several images at once, rgb (N, h, w, 3) and depth (N, h, w): the answer is then (N, h, w). (h, w) is the
        card's input size. smoothing: of each image the one of its camera, or none at all; a backend whose model gives
        labels and no scores leaves it as it is. Returns arrays that the caller owns. Raises BackendError.
        """

    def close(self) -> None:
        """Release the model. Nothing may be called afterwards."""


def as_batch(rgb: NDArray[np.uint8], depth: Depth, size: tuple[int, int]) -> tuple[NDArray[np.uint8], Depth]:
    """The images of one call as rgb (N, h, w, 3) and depth (N, h, w), views. Raises BackendError for another size."""
    if rgb.shape[-3:] != (*size, 3) or depth.shape != rgb.shape[:-1] or rgb.ndim not in (3, 4):
        raise BackendError(f"input is {rgb.shape} and {depth.shape}: expected {(*size, 3)} and {size}, or N of them")
    return (rgb[None], depth[None]) if rgb.ndim == 3 else (rgb, depth)


def plain_frame(size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """rgb (h, w, 3) and depth (h, w) without meaning, to try a backend with."""
    height, width = size
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    return ramp, np.linspace(0.3, 8.0, height * width, dtype=np.float32).reshape(height, width)
