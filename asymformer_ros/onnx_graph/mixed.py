"""FP16 written into the graph, for builders that take each tensor's type from there (TensorRT 10.12 and later)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.onnx_graph.half import HALF_MAX, rounded_to_half

FP32_OPS = {
    "LayerNormalization": "sums squares over the channels",
    "ReduceMean": "sums over the whole map",
}
"""Kinds of node that always stay in FP32: what they sum up on the way is in none of their outputs."""

MOVES = ("Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
"""Kinds of node that only move the values of their first input."""

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_TYPED_BY_ATTRIBUTE = ("Cast",)
_FIRST_INPUT_ONLY = ("Resize",)  # its scales are FP32, whatever it resizes


def to_mixed(model: Any, fp32_layers: Collection[str]) -> Any:
    """A copy of a ModelProto, as `simplify` makes it, in FP16 but for the nodes named and those that never may be.

    FP32_OPS and casts to float stay in FP32, and so do inputs and outputs. A cast stands wherever a tensor goes from
    one kind of node to the other. Raises ConfigurationError for weights that FP16 cannot hold.
    """
    mixed = ModelProto()
    mixed.CopyFrom(model)
    graph = mixed.graph
    writer = _Writer(graph)
    nodes = [written for node in graph.node for written in writer.write(node, half=_may_be_half(node, fp32_layers))]
    used = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in (*graph.initializer, *writer.weights) if tensor.name in used]
    for field, values in ((graph.node, nodes), (graph.initializer, weights), (graph.value_info, [])):
        del field[:]
        field.extend(values)
    for entry in mixed.metadata_props:
        entry.value = "mixed" if entry.key == "precision" else entry.value
    return onnx.shape_inference.infer_shapes(mixed, strict_mode=True, data_prop=True)


def _may_be_half(node: Any, fp32_layers: Collection[str]) -> bool:
    return node.op_type not in (*FP32_OPS, *_TYPED_BY_ATTRIBUTE) and node.name not in fp32_layers


def nodes_to_pin(model: ModelProto, fp32_layers: Collection[str]) -> tuple[str, ...]:
    """Those of the named nodes whose precision has to be said to a builder that chooses it by itself.

    Not those that only move values, and not layer norms, which such builders compute in FP32 anyway, between FP16
    tensors. So an engine in FP16, of which no layer is named, has none.
    """
    left_out = ("LayerNormalization", "Concat", *MOVES, *_TYPED_BY_ATTRIBUTE)
    return tuple(node.name for node in model.graph.node if node.name in fp32_layers and node.op_type not in left_out)


class _Writer:
    """Rewrites nodes in the order of the graph, and remembers in which types each tensor is there."""

    def __init__(self, graph: Any) -> None:
        values = (*graph.input, *graph.output, *graph.value_info)
        self._outputs = {value.name for value in graph.output}
        self._floats = {value.name for value in values if value.type.tensor_type.elem_type == _FLOAT}
        self._initial = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == _FLOAT}
        self._there = {(value.name, _FLOAT): value.name for value in graph.input if value.name in self._floats}
        self.weights: list[Any] = []

    def write(self, node: Any, *, half: bool) -> Iterator[Any]:
        """The casts that a node needs, the node in its type, and what its outputs need."""
        kind = _HALF if half else _FLOAT
        inputs = node.input[:1] if node.op_type in _FIRST_INPUT_ONLY else node.input
        for index, name in enumerate(inputs):
            if name in self._initial:
                node.input[index] = self._weight(name, kind, node.name)
            elif name in self._floats:
                if (name, kind) not in self._there:
                    yield self._cast(name, kind)
                node.input[index] = self._there[name, kind]
        public = []
        for index, name in enumerate(node.output):
            if name in self._floats:
                inner = f"{name}_fp16" if half and name in self._outputs else name
                node.output[index] = self._there[name, kind] = inner
                public += [name] if inner != name else []
        yield node
        for name in public:
            yield helper.make_node("Cast", [f"{name}_fp16"], [name], name=f"{name}_cast", to=_FLOAT)

    def _cast(self, name: str, kind: int) -> Any:
        (there,) = (self._there[name, other] for other in (_FLOAT, _HALF) if (name, other) in self._there)
        made = self._there[name, kind] = f"{name}_to_{'fp16' if kind == _HALF else 'fp32'}"
        return helper.make_node("Cast", [there], [made], name=made, to=kind)

    def _weight(self, name: str, kind: int, node: str) -> str:
        if kind == _FLOAT:
            return name
        if (name, kind) not in self._there:
            values = rounded_to_half(numpy_helper.to_array(self._initial[name]))
            if values is None:
                raise ConfigurationError(
                    f"layer {node} has weights beyond FP16's {HALF_MAX:.0f}: "
                    "keep it in FP32, as `asymformer precision` says"
                )
            self._there[name, kind] = f"{name}_fp16"
            self.weights.append(numpy_helper.from_array(values, f"{name}_fp16"))
        return self._there[name, kind]
