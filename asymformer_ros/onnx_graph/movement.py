"""Nodes that only move values, two in a row: they become one, or none. Every value stays the same to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, helper, numpy_helper

_RESHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")

Shape = tuple[int, ...]


def shorten_movement(graph: Any, shapes: dict[str, Shape]) -> None:
    """Let each such node take what the node before it took, where one of its kind can do what both did.

    graph: changed in place. shapes: of its tensors; nodes of tensors without one stay as they are.
    """
    outputs, makers, same = {value.name for value in graph.output}, dict[str, NodeProto](), dict[str, str]()
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = same.get(name, name)
        if node.op_type in ("Transpose", *_RESHAPES) and shapes.keys() >= {node.input[0], node.output[0]}:
            maker = makers.get(node.input[0])
            if node.op_type == "Transpose":
                _transpose(graph, node, maker, shapes)
            if node.op_type in _RESHAPES:
                _reshape(graph, node, makers.get(node.input[0]), shapes)
            if _does_nothing(node, shapes) and node.output[0] not in outputs:
                same[node.output[0]] = node.input[0]
        makers.update(dict.fromkeys(node.output, node))
    _drop_unused(graph, outputs)


def _transpose(graph: Any, node: NodeProto, maker: NodeProto | None, shapes: dict[str, Shape]) -> None:
    order = _order(node, shapes)
    if maker is not None and maker.op_type == "Transpose":
        node.input[0], order = maker.input[0], [_order(maker, shapes)[axis] for axis in order]
    shape = shapes[node.input[0]]
    moved = [axis for axis in order if shape[axis] > 1]
    if moved == sorted(moved):
        _become_reshape(graph, node, shapes)
    else:
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("perm", order))


def _reshape(graph: Any, node: NodeProto, maker: NodeProto | None, shapes: dict[str, Shape]) -> None:
    if maker is not None and maker.op_type in _RESHAPES and maker.input[0] in shapes:
        node.input[0] = maker.input[0]
        _become_reshape(graph, node, shapes)


def _become_reshape(graph: Any, node: NodeProto, shapes: dict[str, Shape]) -> None:
    shape = numpy_helper.from_array(np.array(shapes[node.output[0]], np.int64), f"{node.output[0]}_shape")
    if all(tensor.name != shape.name for tensor in graph.initializer):
        graph.initializer.append(shape)
    values, result, name = node.input[0], node.output[0], node.name
    node.CopyFrom(helper.make_node("Reshape", [values, shape.name], [result], name=name))


def _order(node: NodeProto, shapes: dict[str, Shape]) -> list[int]:
    """Which axis of the input each axis of a Transpose's output is."""
    given = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
    return given[0] if given else list(reversed(range(len(shapes[node.input[0]]))))


def _does_nothing(node: NodeProto, shapes: dict[str, Shape]) -> bool:
    return node.op_type != "Transpose" and shapes[node.input[0]] == shapes[node.output[0]]


def _drop_unused(graph: Any, outputs: set[str]) -> None:
    used, kept = set(outputs), []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            used.update(node.input)
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    infos = [info for info in graph.value_info if info.name in used]
    for field, values in ((graph.node, kept[::-1]), (graph.initializer, weights), (graph.value_info, infos)):
        del field[:]
        field.extend(values)
