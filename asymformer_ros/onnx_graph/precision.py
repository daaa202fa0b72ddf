"""What FP16 would do to a model: to its weights, and to its activations over real frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.onnx_graph.half import HALF_MAX, HALF_TINY
from asymformer_ros.onnx_graph.mixed import FP32_OPS, MOVES
from asymformer_ros.onnx_graph.probes import add_probes, read_probes
from asymformer_ros.onnx_graph.report import Layer, PrecisionReport, Range, Weight
from asymformer_ros.onnx_graph.session import GraphSession
from asymformer_ros.onnx_graph.simplify import tensor_shapes

Feeds = Mapping[str, NDArray[Any]]
"""The inputs of a graph, by name."""

HEADROOM = 4.0
"""Other scenes have larger values than the frames that were looked at."""

MAX_ERROR = 1e-3
"""Relative error of rounding to FP16; 5e-4 is what rounding costs a value within its normal range at most."""

LONG_SUM = 1024
"""Beyond this a sum in FP16 loses terms of a half, and a softmax has none above 1."""


def analyse(model: ModelProto, frames: Iterable[Feeds], model_sha256: str, source: str) -> PrecisionReport:
    """Run frames through a graph as `simplify` makes it, and judge each of its layers.

    model_sha256: the model's hash, which the report is marked with. source: where the frames are from, for people.
    Raises ConfigurationError without frames, without node names and for a graph that is not in FP32.
    """
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise ConfigurationError("the graph is in mixed precision: give its FP32 model")
    graph = model.graph
    _check_names(graph)
    origins = _origins(graph)
    ranges, count = _measure(model, frames, sorted(set(origins.values())))
    if not count:
        raise ConfigurationError("no frames to look at: give a folder with at least one")
    weights = {
        tensor.name: weigh(numpy_helper.to_array(tensor))
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }
    layers, shapes, levels = {}, tensor_shapes(graph), _levels(graph)
    for node in graph.node:
        seen = [ranges[origins[name]] for name in (*node.input, *node.output) if name in origins]
        if seen:
            held = [weights[name] for name in node.input if name in weights]
            reason = judge(node.op_type, seen, held) or _long_softmax(node, shapes) or _takes_levels(node, levels)
            layers[node.name] = Layer(node.op_type, seen[-1], reason)
    return PrecisionReport(model_sha256, source, count, layers, weights)


def judge(op: str, seen: Iterable[Range], held: Iterable[Weight]) -> str:
    """Why a layer must stay in FP32, given what goes in and comes out and its weights; "" where it need not."""
    if op in FP32_OPS:
        return FP32_OPS[op]
    for weight in held:
        if weight.values.overflow:
            return f"weights reach {weight.values.max_abs:.3g}, beyond {HALF_MAX:.0f}"
        if weight.values.half_error > MAX_ERROR:
            return f"weights change by {weight.values.half_error:.1e}"
    for values in seen:
        if values.max_abs * HEADROOM > HALF_MAX:
            return f"values reach {values.max_abs:.3g}, with {HEADROOM:.0f} times headroom beyond {HALF_MAX:.0f}"
        if values.half_error > MAX_ERROR:
            return f"values change by {values.half_error:.1e}: most are too small"
    return ""


def _long_softmax(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The softmax that sums longest, over all places of a map, is CMA's: its normaliser is in none of its outputs."""
    terms = shapes[node.input[0]][-1] if node.op_type == "Softmax" else 0
    return f"sums over {terms} values" if terms > LONG_SUM else ""


def _levels(graph: GraphProto) -> set[str]:
    """The tensors that hold the levels 0..255 of an input's images, as they came."""
    levels = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    for node in graph.node:
        if node.op_type in ("Cast", *MOVES) and node.input[0] in levels:
            levels.update(node.output)
    return levels


def _takes_levels(node: NodeProto, levels: Collection[str]) -> str:
    """A convolution with the normalisation inside takes small differences of large products."""
    return "takes levels that are not normalised" if node.op_type == "Conv" and node.input[0] in levels else ""


def weigh(values: NDArray[np.float32]) -> Weight:
    """What FP16 does to a weight tensor."""
    size = np.abs(values, dtype=np.float64).ravel()
    filled = size[size > 0]
    if not filled.size:
        return Weight(Range(0, 0, 0, 0, 0), 0, 0)
    change = np.abs(np.minimum(filled, HALF_MAX).astype(np.float16).astype(np.float64) - filled)
    error = float(np.sqrt((change**2).sum() / (filled**2).sum()))
    return Weight(
        Range(float(filled.max()), float(filled.min()), _share(filled < HALF_TINY), _share(filled > HALF_MAX), error),
        changed=_share(change > MAX_ERROR * filled),
        tiny=_share(filled < 1e-7),
    )


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean())


def _origins(graph: Any) -> dict[str, str]:
    """Each float tensor that a node makes, to the tensor whose values it holds."""
    floats = {v.name for v in (*graph.value_info, *graph.output) if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    origins: dict[str, str] = {}
    for node in graph.node:
        for name in floats.intersection(node.output):
            origins[name] = origins.get(node.input[0], name) if node.op_type in MOVES else name
    return origins


def _measure(model: ModelProto, frames: Iterable[Feeds], tensors: list[str]) -> tuple[Mapping[str, Range], int]:
    session = GraphSession(add_probes(model, tensors), optimized=False)
    results = [session.run(None, feeds)[0] for feeds in frames]
    return read_probes(tensors, np.stack(results)) if results else {}, len(results)


def _check_names(graph: Any) -> None:
    names = [node.name for node in graph.node]
    if not all(names) or len(set(names)) != len(names):
        raise ConfigurationError(
            "the ONNX file has nodes without a name of their own, so a report cannot speak of them: export it again"
        )
