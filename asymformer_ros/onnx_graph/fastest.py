"""The session that runs a graph of class scores fastest with ONNX Runtime on a CPU."""

from __future__ import annotations

import logging
from pathlib import Path

from onnx import ModelProto

from asymformer_ros.errors import BackendError
from asymformer_ros.onnx_graph.cpu import for_cpu, is_for_cpu
from asymformer_ros.onnx_graph.outputs import give_logits4
from asymformer_ros.onnx_graph.session import GraphSession
from asymformer_ros.onnx_graph.simplify import simplify

_log = logging.getLogger(__name__)


def plain_scores(model: ModelProto) -> ModelProto:
    """The graph of class scores of a file, for `fastest_session`; one that is made for CPUs is one already.

    Raises CheckpointError where it contradicts itself or has none.
    """
    return model if is_for_cpu(model) else give_logits4(simplify(model))


def fastest_session(plain: ModelProto, precision: str, keep_as: Path | None = None) -> GraphSession:
    """Of the graph that is made for CPUs; of the plain one where it is not in FP32 or nothing runs the other.

    plain: as `plain_scores` gives it. keep_as: see GraphSession. Raises BackendError.
    """
    if precision == "fp32" and not is_for_cpu(plain):
        try:
            return GraphSession(for_cpu(plain), keep_as=keep_as)
        except BackendError as error:
            _log.info("the plain graph serves: %s", error)
    return GraphSession(plain, keep_as=keep_as)
