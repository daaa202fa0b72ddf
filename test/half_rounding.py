"""FP16 as a GPU computes it, on ONNX Runtime's CPU, which by itself computes FP16 graphs in FP32 throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def rounded_to_half(mixed: Any) -> Any:
    """The FP32 graph of a mixed one, in which each tensor that is FP16 there is rounded to it and back.

    Run it unoptimised: the pairs of casts would be taken away.
    """
    model = ModelProto()
    model.CopyFrom(mixed)
    graph = model.graph
    halves = {value.name for value in graph.value_info if value.type.tensor_type.elem_type == HALF}
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in halves:
            nodes.append(helper.make_node("Identity", node.input, node.output, name=node.name))
            continue
        if node.op_type == "Cast" and node.output[0] in halves:
            node.attribute[0].i = FLOAT
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in halves:
                node.output[index] = f"{name}_exact"
                nodes.append(
                    helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], name=f"{name}_half", to=HALF)
                )
                nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_back", to=FLOAT))
    for tensor in graph.initializer:
        if tensor.data_type == HALF:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model
