"""Normalisation as nodes of a graph whose file has none: camera images in, as our own exports take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from asymformer_ros.onnx_graph.names import CAMERA_INPUTS

Channels = tuple[Sequence[float], Sequence[float]]
"""Scale and shift of each."""


def take_camera_images(
    model: ModelProto, inputs: tuple[str, str], colour: Channels, millimetres: tuple[float, float]
) -> None:
    """Change a graph of normalised images so that it takes rgb (1, H, W, 3) uint8 and depth (1, H, W, 2) uint8.

    inputs: the names of its float32 inputs, (1, 3, H, W) colour and (1, 1, H, W) depth. colour: what normalises the
    levels 0..255. millimetres: scale and shift of depth, whose two bytes are as `depth_bytes` packs them.
    """
    graph = model.graph
    normalised = [f"/preprocess/{name}" for name in CAMERA_INPUTS]
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in inputs:
                node.input[index] = normalised[inputs.index(name)]
    sizes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][2:] for value in graph.input}
    scale, shift = millimetres
    weights = [(np.diag(colour[0]), colour[1]), (np.array([[scale, 256 * scale]]), [shift])]
    nodes: list[NodeProto] = []
    kept = [value for value in graph.input if value.name not in inputs]
    for name, theirs, result, (weight, bias) in zip(CAMERA_INPUTS, inputs, normalised, weights, strict=True):
        images = helper.make_tensor_value_info(name, TensorProto.UINT8, (1, *sizes[theirs], weight.shape[1]))
        kept.append(images)
        held = {f"{result}/weight": weight[:, :, None, None], f"{result}/bias": bias}
        graph.initializer.extend(numpy_helper.from_array(np.array(held[key], np.float32), key) for key in held)
        nodes += [
            helper.make_node("Cast", [name], [f"{result}/levels"], name=f"{result}/Cast", to=TensorProto.FLOAT),
            helper.make_node(
                "Transpose", [f"{result}/levels"], [f"{result}/map"], name=f"{result}/Transpose", perm=[0, 3, 1, 2]
            ),
            helper.make_node("Conv", [f"{result}/map", *held], [result], name=f"{result}/Conv"),
        ]
    nodes += graph.node
    for field, values in ((graph.node, nodes), (graph.input, kept)):
        del field[:]
        field.extend(values)
