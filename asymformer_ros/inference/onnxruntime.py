"""ONNX Runtime on the CPU: serves ONNX files, and needs no PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import BackendError
from asymformer_ros.frames.depth import Depth
from asymformer_ros.inference.backend import Prediction, as_batch, plain_frame
from asymformer_ros.inference.processing import classify_all
from asymformer_ros.inference.smoothing import TemporalSmoothing, smoothed
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.mark import read_mark
from asymformer_ros.models.model import Model
from asymformer_ros.models.signature import camera_feeds
from asymformer_ros.onnx_graph.session import GraphSession
from asymformer_ros.system.limits import return_free_memory

_log = logging.getLogger(__name__)


class LogitsSession(Protocol):
    """A graph of class scores that is ready to run."""

    def run(self, outputs: None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs in the order of the graph. Raises BackendError."""


class OnnxRuntimeBackend:
    """Serves an ONNX file with ONNX Runtime: class scores come out of one session, `classify` does the rest.

    The graph is rewritten for CPUs (`fastest_session`) unless the file holds one that is. agreement: how its labels
    compare with FP32's, for people, where it computes in less; "" where that is not known.
    """

    def __init__(self, model: Model, session: LogitsSession | None = None, name: str = "") -> None:
        """session, name: one that is open already, or another library's, and what is shown of it."""
        if model.batch != 1:
            raise BackendError(
                f"{model.path} takes {model.batch} images at a time: "
                "a camera gives one, export the model with `--batch 1`"
            )
        self.card: ModelCard = model.card
        self.model_sha256 = model.model_sha256
        self.name = name or f"onnxruntime cpu {model.precision}"
        self.agreement = ""
        self._session: LogitsSession | None = session or _session(model)
        return_free_memory()

    @classmethod
    def open(cls, model: Model, session: LogitsSession | None = None, name: str = "") -> OnnxRuntimeBackend:
        """Serve a model that was read of an ONNX file, and run it once. Raises BackendError where it cannot run.

        session, name: see `__init__`.
        """
        assert session is not None or model.proto is not None  # `open_backend` refuses bundles, before they are read
        backend = cls(model, session, name)
        if not backend.is_finite():
            raise BackendError(f"model '{model.path}' answers with NaN or infinity: its weights are damaged")
        _log.info("%s serves %s", backend.name, model.path)
        return backend

    def is_finite(self) -> bool:
        """Whether the scores of a plain test frame are all finite. Warms the session up, too."""
        return bool(np.isfinite(self._logits(*plain_frame(self.card.input_size))).all())

    def infer(
        self,
        rgb: NDArray[np.uint8],
        depth: Depth,
        *,
        with_confidence: bool = False,
        smoothing: Sequence[TemporalSmoothing] = (),
    ) -> Prediction:
        """See InferenceBackend. Several images are run one by one: on a CPU a batch gains nothing."""
        images, metres = as_batch(rgb, depth, self.card.input_size)
        logits = (self._logits(*pair) for pair in zip(images, metres, strict=True))
        scores = smoothed(logits, images, metres, smoothing)
        prediction = classify_all(scores, self.card, with_confidence=with_confidence)
        return prediction.first() if rgb.ndim == 3 else prediction

    def close(self) -> None:
        """See InferenceBackend."""
        self._session = None

    def _logits(self, rgb: NDArray[np.uint8], depth: Depth) -> NDArray[np.float32]:
        """(classes, h, w)."""
        if self._session is None:
            raise BackendError(f"{self.name} is closed")
        return self._session.run(None, camera_feeds(rgb, depth))[0][0]


def open_kept(file: Path, path: Path, precision: str = "fp32") -> OnnxRuntimeBackend:
    """Serve a graph that `make_cpu_graph` has written, which takes no rewriting, and but for BF16 no onnx.

    path: of its model, for people. Raises BackendError or CheckpointError where it cannot run.
    """
    if precision == "bf16":
        return _open_bf16(file, path)
    session = GraphSession(file)
    return OnnxRuntimeBackend.open(read_mark(path, session.metadata, session.inputs, session.outputs), session)


def _open_bf16(file: Path, path: Path) -> OnnxRuntimeBackend:
    from asymformer_ros.models.onnx_file import read_onnx
    from asymformer_ros.onnx_graph.bf16_session import Bf16Session

    model = replace(read_onnx(file), path=path)
    return OnnxRuntimeBackend.open(model, Bf16Session(model.proto), "openvino cpu bf16")


def _session(model: Model) -> GraphSession:
    """Of the class scores of an ONNX file, rewritten now."""
    from asymformer_ros.onnx_graph.fastest import fastest_session, plain_scores  # onnx: where no graph was kept

    return fastest_session(plain_scores(model.proto), model.precision)
