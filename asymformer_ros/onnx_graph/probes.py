"""Measures tensors inside an ONNX graph, where they are, so that none has to be handed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from asymformer_ros.onnx_graph.half import HALF_MAX, HALF_TINY
from asymformer_ros.onnx_graph.report import Range

_OUTPUT = "probes"
_CONSTANTS = {"zero": 0.0, "tiny": HALF_TINY, "largest": HALF_MAX, "lowest": -HALF_MAX, "huge": 3e38}


def add_probes(model: Any, tensors: Sequence[str]) -> Any:
    """A copy of a ModelProto whose one output is (tensors, 6) float32, for `read_probes`."""
    probed = ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    del graph.output[:]
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), f"probe_{name}") for name, value in _CONSTANTS.items()
    )
    for name, shape in (("one", [1]), ("row", [1, 6])):
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"probe_{name}"))
    made = {name: number for number, node in enumerate(graph.node) for name in node.output}
    nodes = [[node] for node in graph.node]
    for number, tensor in enumerate(tensors):  # right behind the node that makes it
        nodes[made[tensor]].extend(_probe(tensor, f"probe_{number}"))
    del graph.node[:]
    graph.node.extend(node for group in nodes for node in group)
    rows = [f"probe_{number}" for number in range(len(tensors))]
    graph.node.append(helper.make_node("Concat", rows, [_OUTPUT], axis=0))
    graph.output.append(helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, (len(tensors), 6)))
    return probed


def read_probes(tensors: Sequence[str], values: NDArray[np.float32]) -> Mapping[str, Range]:
    """Ranges, by tensor, over all frames: values (frames, tensors, 6) of the output that `add_probes` adds."""
    largest, smallest = values[..., 0].max(axis=0), values[..., 1].min(axis=0)
    underflow, overflow = values[..., 2].mean(axis=0), values[..., 3].mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.nan_to_num(np.sqrt(values[..., 4] / values[..., 5]), nan=0.0).max(axis=0)
    smallest[largest == 0] = 0
    rows = np.stack((largest, smallest, underflow, overflow, error), axis=1).astype(float)
    return {tensor: Range(*map(float, row)) for tensor, row in zip(tensors, rows, strict=True)}


def _probe(tensor: str, name: str) -> list[Any]:
    """Nodes that make `name` (1, 6): largest and smallest size, underflow and overflow, squared error and sum."""
    made: list[Any] = []

    def node(op: str, *inputs: str, **attributes: object) -> str:
        output = f"{name}_{len(made)}"
        made.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def share(mask: str) -> str:
        return node("ReduceMean", node("Cast", mask, to=TensorProto.FLOAT), keepdims=0)

    size = node("Abs", tensor)
    filled = node("Greater", size, "probe_zero")
    clipped = node("Min", node("Max", tensor, "probe_lowest"), "probe_largest")
    half = node("Cast", node("Cast", clipped, to=TensorProto.FLOAT16), to=TensorProto.FLOAT)
    statistics = [
        node("ReduceMax", size, keepdims=0),
        node("ReduceMin", node("Where", filled, size, "probe_huge"), keepdims=0),
        share(node("And", filled, node("Less", size, "probe_tiny"))),
        share(node("Greater", size, "probe_largest")),
        node("ReduceSumSquare", node("Sub", clipped, half), keepdims=0),
        node("ReduceSumSquare", clipped, keepdims=0),
    ]
    rows = [node("Reshape", statistic, "probe_one") for statistic in statistics]
    made.append(helper.make_node("Reshape", [node("Concat", *rows, axis=0), "probe_row"], [name], name=name))
    return made
