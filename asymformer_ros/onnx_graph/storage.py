"""Weights of an ONNX graph stored in FP16, while everything is computed in FP32."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from asymformer_ros.onnx_graph.half import stored_by_half


def store_half(model: ModelProto) -> ModelProto:
    """Store weights in FP16 as `stored_by_half` says, each with a Cast to FP32 behind it; returns the same object.

    Raises CheckpointError for weights beyond FP16.
    """
    casts = []
    for tensor in model.graph.initializer:
        half = (
            stored_by_half(tensor.name, numpy_helper.to_array(tensor))
            if tensor.data_type == TensorProto.FLOAT
            else None
        )
        if half is not None:
            name, stored = tensor.name, f"{tensor.name}_fp16"
            tensor.CopyFrom(numpy_helper.from_array(half, stored))
            casts.append(helper.make_node("Cast", [stored], [name], name=stored, to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def restore_weights(model: ModelProto) -> ModelProto:
    """The inverse of `store_half`, but for what was rounded: a plain FP32 graph; returns the same object."""
    halves = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    nodes = []
    for node in model.graph.node:
        stored = halves.get(node.input[0]) if node.op_type == "Cast" and node.name == node.input[0] else None
        if stored is None:
            nodes.append(node)
        else:
            values = numpy_helper.to_array(stored).astype(np.float32)
            stored.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
