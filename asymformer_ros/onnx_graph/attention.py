"""Attention in the form that TensorRT has fused kernels for: queries, keys and values of one width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from asymformer_ros.onnx_graph.simplify import tensor_shapes


def widen_values(model: ModelProto) -> ModelProto:
    """A copy in which the values of each attention head are at least as wide as its keys: the same function.

    The weights that make the values get columns of zeros, those that take the answers rows of zeros. Not for CPUs,
    which compute the zeros, too. Attention that is written in another way than the network's stays as it is.
    """
    wide = ModelProto()
    wide.CopyFrom(model)
    graph = _Graph(wide.graph)
    for node in wide.graph.node:
        if node.op_type == "Softmax":
            _widen(graph, node)
    used = {name for node in wide.graph.node for name in node.input}
    weights = [tensor for tensor in wide.graph.initializer if tensor.name in used]
    for field, values in ((wide.graph.initializer, weights), (wide.graph.value_info, [])):
        del field[:]
        field.extend(values)
    return onnx.shape_inference.infer_shapes(wide, strict_mode=True, data_prop=True)


def _widen(graph: _Graph, softmax: NodeProto) -> None:
    product = graph.after(softmax.output[0], "MatMul")
    scores = graph.before(softmax.input[0], "MatMul")
    answers = graph.after(product[-1].output[0], "Transpose", "Reshape", "MatMul") if product else []
    values = graph.before(product[-1].input[1], "Transpose", "Reshape", "Add", "MatMul") if product else []
    if not (scores and answers and values):
        return
    (to_heads, split, bias, make), (from_heads, join, take) = values, answers
    *place, heads, width = graph.shapes[split.output[0]]
    keys = graph.shapes[scores[0].input[0]][-1]
    if width >= keys or any(_order(node) != [0, 2, 1, 3] for node in (to_heads, from_heads)):
        return
    graph.change_weight(make, lambda weight: _padded(weight, 1, heads, keys))
    graph.change_weight(bias, lambda weight: _padded(weight, 0, heads, keys))
    graph.change_weight(take, lambda weight: _padded(weight, 0, heads, keys))
    graph.change_weight(split, lambda _: np.array([*place, heads, keys], np.int64))
    graph.change_weight(join, lambda _: np.array([*place, heads * keys], np.int64))


def _padded(weight: NDArray[Any], axis: int, heads: int, width: int) -> NDArray[Any]:
    """A weight, one of whose axes is (heads, narrower), with zeros behind each head's own."""
    before, after = weight.shape[:axis], weight.shape[axis + 1 :]
    split = weight.reshape(*before, heads, -1, *after)
    padding = [(0, 0)] * split.ndim
    padding[axis + 1] = (0, width - split.shape[axis + 1])
    return np.pad(split, padding).reshape(*before, heads * width, *after)


def _order(transpose: NodeProto) -> list[int]:
    return next((list(helper.get_attribute_value(a)) for a in transpose.attribute if a.name == "perm"), [])


class _Graph:
    """Who makes and who takes each tensor of a graph whose nodes change their weights alone."""

    def __init__(self, graph: Any) -> None:
        self.shapes = tensor_shapes(graph)
        self._graph = graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._takers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._takers.setdefault(name, []).append(node)

    def before(self, name: str, *kinds: str) -> list[NodeProto]:
        """The nodes that a tensor comes from, the last one first, where they are of these kinds and for it alone."""
        found: list[NodeProto] = []
        for kind in kinds:
            node = self._makers.get(name)
            if node is None or node.op_type != kind or len(self._takers[name]) != 1:
                return []
            found.append(node)
            name = next(value for value in node.input if value not in self._weights)
        return found

    def after(self, name: str, *kinds: str) -> list[NodeProto]:
        """The nodes that a tensor goes to, where they are of these kinds and nothing else takes what is on the way."""
        found: list[NodeProto] = []
        for kind in kinds:
            takers = self._takers.get(name, [])
            if len(takers) != 1 or takers[0].op_type != kind:
                return []
            found.append(takers[0])
            name = takers[0].output[0]
        return found

    def change_weight(self, node: NodeProto, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Give a node a weight of its own, made of the one that it has."""
        index, name = next((index, name) for index, name in enumerate(node.input) if name in self._weights)
        node.input[index] = f"{node.name}_wide"
        values = change(numpy_helper.to_array(self._weights[name]))
        self._graph.initializer.append(numpy_helper.from_array(values, node.input[index]))
