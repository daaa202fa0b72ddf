"""What an ONNX graph gives."""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto


def keep_outputs(model: ModelProto, names: Collection[str]) -> ModelProto:
    """Take from a graph the outputs that are not named and all that only they need; returns the same object."""
    graph, needed = model.graph, set(names)
    nodes = []
    for node in reversed(graph.node):  # they are in topological order
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    kept = [value for value in graph.output if value.name in names]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in ((graph.node, nodes[::-1]), (graph.output, kept), (graph.initializer, weights)):
        del field[:]
        field.extend(values)  # type: ignore[arg-type]
    return model
