"""Makes a traced ONNX graph plain: what can be computed beforehand, above all shapes, becomes a constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from asymformer_ros.errors import CheckpointError
from asymformer_ros.onnx_graph.movement import shorten_movement

_SMALL = 4096  # elements; larger constants are weights, which nothing has to compute

Constants = dict[str, NDArray[Any]]


def simplify(model: Any) -> Any:
    """The same function without Constant, Identity and Shape nodes, and without nodes of constant inputs.

    model: onnx.ModelProto with fixed input shapes. Returns a new one, with the shapes of all its tensors. Raises
    CheckpointError for a graph that contradicts itself.
    """
    try:
        return _simplified(model)
    except (RuntimeError, ValueError, TypeError, KeyError, onnx.shape_inference.InferenceError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"the ONNX graph contradicts itself, it is damaged or was edited: {said}") from error


def _simplified(model: Any) -> Any:
    before = -1
    while len(model.graph.node) != before:  # a shape that becomes known makes others known
        before = len(model.graph.node)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        _fold_once(model.graph)
    shorten_movement(model.graph, tensor_shapes(model.graph))
    _name_weights(model.graph)
    return model


def tensor_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a graph whose shapes are all inferred and fixed."""
    types = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.input, *graph.output)}
    known = {name: kind.shape.dim for name, kind in types.items() if kind.HasField("shape")}
    fixed = {name: dims for name, dims in known.items() if all(dim.HasField("dim_value") for dim in dims)}
    return {name: tuple(dim.dim_value for dim in dims) for name, dims in fixed.items()}


def _fold_once(graph: Any) -> None:
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer if np.prod(t.dims) <= _SMALL}
    weights = {tensor.name for tensor in graph.initializer}
    shapes, renamed, kept = tensor_shapes(graph), dict[str, str](), []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in {value.name for value in graph.output}:
            renamed[node.output[0]] = node.input[0]
        elif (value := _value(node, constants, shapes)) is not None:
            constants[node.output[0]] = value
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    _keep_used_weights(graph, constants, weights)


def _value(node: Any, constants: Constants, shapes: dict[str, tuple[int, ...]]) -> NDArray[Any] | None:
    """What a node of one output gives, where that is known beforehand."""
    if len(node.output) != 1:
        return None
    if node.op_type == "Shape" and node.input[0] in shapes and not node.attribute:
        return np.array(shapes[node.input[0]], dtype=np.int64)
    if not all(name in constants for name in node.input if name):
        return None
    graph = onnx.helper.make_graph([node], "one", [], [onnx.ValueInfoProto(name=node.output[0])])
    one = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    return np.asarray(ReferenceEvaluator(one).run(None, {name: constants[name] for name in node.input if name})[0])


def _name_weights(graph: Any) -> None:
    """Weights that the trace transposed have numbers for names: each gets that of the node which takes it."""
    renamed: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name.startswith("onnx::"):
                node.input[index] = renamed.setdefault(name, f"{node.name}_weight")
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)


def _keep_used_weights(graph: Any, constants: Constants, weights: set[str]) -> None:
    used = {name for node in graph.node for name in node.input}
    old = [tensor for tensor in graph.initializer if tensor.name in used]
    new = [numpy_helper.from_array(constants[name], name) for name in sorted(used & constants.keys() - weights)]
    del graph.initializer[:]
    graph.initializer.extend(old + new)
    infos = [info for info in graph.value_info if info.name in used]
    del graph.value_info[:]
    graph.value_info.extend(infos)
