"""What an ONNX graph gives."""

from __future__ import annotations

from collections.abc import Collection

from asymformer_ros.optional import importing

with importing("onnx", "an ONNX model"):
    from onnx import ModelProto


def keep_outputs(model: ModelProto, names: Collection[str]) -> ModelProto:
    """A graph with only the outputs that are named, and what they need."""
    graph, needed = model.graph, set(names)
    nodes = []
    for node in reversed(graph.node):  # they are in topological order
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    kept = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    kept.graph.name = graph.name
    kept.graph.node.extend(nodes[::-1])
    kept.graph.input.extend(graph.input)
    kept.graph.output.extend(value for value in graph.output if value.name in names)
    kept.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in needed)
    return kept
