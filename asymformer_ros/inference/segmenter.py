"""From a camera's frame to a label map of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED, RgbdFrame, Segmentation, StageTimes
from asymformer_ros.frames.resize import resize_frame, resize_nearest
from asymformer_ros.inference.backend import InferenceBackend


class Segmenter:
    """Runs frames of any size through a backend."""

    def __init__(self, backend: InferenceBackend) -> None:
        self.backend = backend

    def segment(self, frame: RgbdFrame, *, with_confidence: bool = False, min_confidence: float = 0.0) -> Segmentation:
        """Label each pixel of a frame.

        with_confidence: whether the answer holds the confidence map; it costs a softmax.
        min_confidence: 0..1; pixels whose confidence is below get UNLABELLED. Raises BackendError.
        """
        return self.segment_all([frame], with_confidence=with_confidence, min_confidence=min_confidence)[0]

    def segment_all(
        self, frames: Sequence[RgbdFrame], *, with_confidence: bool = False, min_confidence: float = 0.0
    ) -> list[Segmentation]:
        """Label several frames, of any sizes, in one go, as `segment` does one; each has the stage times of all."""
        start = perf_counter()
        rgb, depth = _batch([resize_frame(frame, self.backend.card.input_size) for frame in frames])
        resized = perf_counter()
        labels, confidence = self.backend.infer(rgb, depth, with_confidence=with_confidence or min_confidence > 0)
        inferred = perf_counter()
        if confidence is not None and min_confidence > 0:
            labels[confidence < np.ceil(min_confidence * 255)] = UNLABELLED
        sizes = [frame.size for frame in frames]
        all_labels = [resize_nearest(one, size) for one, size in zip(labels, sizes, strict=True)]
        confidences: Sequence[NDArray[np.uint8] | None] = [None] * len(frames)
        if with_confidence and confidence is not None:
            confidences = [resize_nearest(one, size) for one, size in zip(confidence, sizes, strict=True)]
        done = perf_counter()
        times = StageTimes((resized - start) * 1e3, (inferred - resized) * 1e3, (done - inferred) * 1e3)
        return [Segmentation(*answer, times) for answer in zip(all_labels, confidences, strict=True)]


Input = tuple[NDArray[np.uint8], NDArray[np.float32]]


def _batch(inputs: list[Input]) -> Input:
    """Stack the inputs of several frames; one frame's is a view."""
    if len(inputs) == 1:
        return inputs[0][0][None], inputs[0][1][None]
    return np.stack([rgb for rgb, _ in inputs]), np.stack([depth for _, depth in inputs])
