"""What a child does for the graph that serves a model on a CPU: it makes it, opens it and compares it with FP32."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from asymformer_ros.engine.disk import temporary_folder
from asymformer_ros.engine.golden import Golden, golden_frames, golden_in, golden_of
from asymformer_ros.engine.verify import Answer, Verification, verify
from asymformer_ros.models.model import Model
from asymformer_ros.models.onnx_file import mark
from asymformer_ros.models.scores import classify
from asymformer_ros.models.signature import camera_feeds
from asymformer_ros.onnx_graph.cpu import BESIDE_LINEARS, for_cpu
from asymformer_ros.onnx_graph.fastest import fastest_session, plain_scores
from asymformer_ros.onnx_graph.session import GraphSession


class _Session(Protocol):
    def run(self, outputs: None, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]: ...


def make_cpu_graph(model: Model, precision: str) -> tuple[bytes, Verification]:
    """The file of the graph, for `open_kept`, and how its labels on golden frames compare with FP32's.

    FP32's labels are those of the network as it was trained where the model is a bundle; else those in its ONNX file,
    and where it has none, its plain graph's. precision: "fp32", "int8" or "bf16".
    Raises BackendError where nothing can run it.
    """
    held, plain = golden_in(model), _scores(model)
    golden = held or _answers(model, plain)
    with temporary_folder() as folder:
        file = folder / "graph.onnx"
        session = _write(plain, model.precision, precision, file)
        got = [_answer(session, model.card.input_size, *frame) for frame in golden_frames(model.card.input_size)]
        return file.read_bytes(), verify([Answer(labels) for labels in golden.labels], got)


def _scores(model: Model) -> ModelProto:
    """The plain graph of class scores, which says what it is."""
    if model.bundle is None:
        graph = plain_scores(model.proto)
    else:
        from asymformer_ros.models.export import ExportOptions, export_model

        graph = export_model(model.bundle, ExportOptions(outputs="logits4"))
    mark(graph, model.card, model.model_sha256, model.precision)
    return graph


def _answers(model: Model, plain: ModelProto) -> Golden:
    size = model.card.input_size
    if model.bundle is not None:
        from asymformer_ros.models.camera_network import plain_labels

        return golden_of(size, partial(plain_labels, model.bundle))
    session = GraphSession(plain)
    return golden_of(size, lambda rgb, depth: _answer(session, size, rgb, depth).labels)


def _answer(session: _Session, size: tuple[int, int], rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> Answer:
    scores = session.run(None, camera_feeds(rgb, depth))[0][0]
    return Answer(classify(scores, size)[0], scores)


def _write(plain: ModelProto, stored: str, precision: str, file: Path) -> _Session:
    """Write the graph in a precision, and open what was written. stored: what the plain graph is in."""
    if precision == "bf16":
        from asymformer_ros.onnx_graph.bf16_session import Bf16Session

        file.write_bytes(plain.SerializeToString())
        return Bf16Session(plain)
    if precision == "int8":
        from asymformer_ros.onnx_graph.quantize import quantize

        GraphSession(quantize(for_cpu(plain, BESIDE_LINEARS)), keep_as=file)
    else:
        fastest_session(plain, stored, keep_as=file)
    return GraphSession(file)
