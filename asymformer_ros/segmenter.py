"""From a camera's frame to a label map of the same size."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from asymformer_ros.backends import InferenceBackend
from asymformer_ros.frame import UNLABELLED, RgbdFrame, Segmentation, StageTimes
from asymformer_ros.preprocessing import resize_frame, resize_nearest


class Segmenter:
    """Runs frames of any size through a backend."""

    def __init__(self, backend: InferenceBackend) -> None:
        self.backend = backend

    def segment(self, frame: RgbdFrame, *, with_confidence: bool = False, min_confidence: float = 0.0) -> Segmentation:
        """Label each pixel of a frame.

        with_confidence: whether the answer holds the confidence map; it costs a softmax.
        min_confidence: 0..1; pixels whose confidence is below get UNLABELLED. Raises BackendError.
        """
        start = perf_counter()
        rgb, depth = resize_frame(frame, self.backend.card.input_size)
        resized = perf_counter()
        labels, confidence = self.backend.infer(rgb, depth, with_confidence=with_confidence or min_confidence > 0)
        inferred = perf_counter()
        if confidence is not None and min_confidence > 0:
            labels[confidence < np.ceil(min_confidence * 255)] = UNLABELLED
        labels = resize_nearest(labels, frame.size)
        confidence = resize_nearest(confidence, frame.size) if with_confidence and confidence is not None else None
        done = perf_counter()
        times = StageTimes((resized - start) * 1e3, (inferred - resized) * 1e3, (done - inferred) * 1e3)
        return Segmentation(labels, confidence, times)
