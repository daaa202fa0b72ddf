"""ONNX Runtime on the CPU: serves ONNX files, and needs no PyTorch."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import BackendError
from asymformer_ros.inference.backend import Prediction, as_batch, plain_frame
from asymformer_ros.inference.processing import classify
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.model import Model
from asymformer_ros.onnx_graph.outputs import keep_outputs
from asymformer_ros.onnx_graph.session import GraphSession

_log = logging.getLogger(__name__)


class OnnxRuntimeBackend:
    """Serves an ONNX file with ONNX Runtime.

    A session computes all outputs of its graph, whichever are asked for. So a model that gives labels gets one
    session without the confidence, and a second one when confidence is asked for the first time.
    """

    def __init__(self, model: Model) -> None:
        if model.batch != 1:
            raise BackendError(
                f"{model.path} takes {model.batch} images at a time: "
                "a camera gives one, export the model with `--batch 1`"
            )
        self.card: ModelCard = model.card
        self.name = f"onnxruntime cpu {model.precision}"
        self._model = model
        self._sessions: dict[tuple[str, ...], GraphSession] = {}

    @classmethod
    def open(cls, model: Model) -> OnnxRuntimeBackend:
        """Serve a model that was read of an ONNX file, and run it once. Raises BackendError where it cannot run."""
        if model.proto is None:
            raise BackendError(
                f"backend is 'onnxruntime' but model '{model.path}' is no .onnx file: "
                f"export it first with `asymformer export {model.path} {model.path.stem}.onnx`"
            )
        backend = cls(model)
        if not backend.is_finite():
            raise BackendError(f"model '{model.path}' answers with NaN or infinity: its weights are damaged")
        _log.info("%s serves %s", backend.name, model.path)
        return backend

    def is_finite(self) -> bool:
        """Whether the answer to a plain test frame is finite everywhere: confidence is never 0 otherwise."""
        ramp, depth = plain_frame(self.card.input_size)
        if self._model.signature.gives_labels:
            confidence = self.infer(ramp, depth, with_confidence=True).confidence
            self._sessions.clear()  # the one with confidence may never be needed again
            return confidence is not None and bool(confidence.all())
        return bool(np.isfinite(self._run(self._model.signature.outputs, ramp, depth)[0]).all())

    def infer(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], *, with_confidence: bool = False) -> Prediction:
        """See InferenceBackend. Several images are run one by one: on a CPU a batch gains nothing."""
        images, metres = as_batch(rgb, depth, self.card.input_size)
        predictions = [self._infer_one(*pair, with_confidence) for pair in zip(images, metres, strict=True)]
        if rgb.ndim == 3:
            return predictions[0]
        confidences = [prediction.confidence for prediction in predictions if prediction.confidence is not None]
        labels = np.stack([prediction.labels for prediction in predictions])
        return Prediction(labels, np.stack(confidences) if confidences else None)

    def _infer_one(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], with_confidence: bool) -> Prediction:
        if not self._model.signature.gives_labels:
            logits = self._run(self._model.signature.outputs, rgb, depth)[0]
            return Prediction(*classify(logits[0], with_confidence=with_confidence))
        names = self._model.signature.outputs if with_confidence else self._model.signature.outputs[:1]
        labels, *confidence = (output[0] for output in self._run(names, rgb, depth))
        return Prediction(labels, confidence[0] if confidence else None)

    def close(self) -> None:
        """See InferenceBackend."""
        self._sessions.clear()

    def _run(self, outputs: tuple[str, ...], rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> list[Any]:
        if outputs not in self._sessions:
            self._sessions[outputs] = GraphSession(keep_outputs(self._model.proto, outputs))
        return self._sessions[outputs].run(list(outputs), self._model.feeds(rgb, depth))
