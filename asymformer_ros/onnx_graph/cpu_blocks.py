"""Linear layers beside convolutions, as 1x1 convolutions: ONNX Runtime then keeps its blocked layout throughout."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from asymformer_ros.onnx_graph.editing import (
    TO_CHANNELS_FIRST,
    TO_CHANNELS_LAST,
    GraphEditor,
    Linear,
    order,
)


def convolve_blocks(editor: GraphEditor) -> None:
    """Make convolutions of the two linear layers between a layer norm over channels and the map that follows."""
    for back in editor.all("Transpose"):
        project = editor.linear(back.input[0]) if order(back) == TO_CHANNELS_FIRST else None
        source = _before_gelu(editor, project.source) if project else None
        expand = editor.linear(source) if source else None
        if project is None or expand is None or len(editor.shapes[expand.source]) != 4:
            continue
        turned = f"{expand.source}_channels_first"
        turn = _turned(expand.source, turned, TO_CHANNELS_FIRST)
        editor.replace(expand.last, turn, _convolution(editor, expand, turned, expand.last.output[0]))
        editor.replace(back, _convolution(editor, project, project.source, back.output[0]))


def convolve_feed_forward(editor: GraphEditor) -> None:
    """Make convolutions of the two linear layers around Mix-FFN's depthwise convolution."""
    for depthwise in editor.all("Conv"):
        into = editor.before(depthwise.input[0], "Transpose", "Reshape")
        out = editor.after(depthwise.output[0], "Transpose", "Reshape")
        if not into or not out or order(into[0]) != TO_CHANNELS_FIRST or order(out[0]) != TO_CHANNELS_LAST:
            continue
        expand, gelu = editor.linear(into[1].input[0]), _after_gelu(editor, out[1].output[0])
        added = editor.after(gelu, "MatMul", "Add") if gelu else []
        project = editor.linear(added[1].output[0]) if added else None
        if expand is not None and project is not None:
            _convolve_around(editor, depthwise, expand, project)
            editor.rename_input(out[1].output[0], depthwise.output[0])


def _convolve_around(editor: GraphEditor, depthwise: NodeProto, expand: Linear, project: Linear) -> None:
    images, _, height, width = editor.shapes[depthwise.input[0]]
    base, tokens = expand.last.name, editor.shapes[project.last.output[0]]
    as_map = editor.add_weight(f"{base}/map_shape", np.array([images, height, width, len(expand.weight)], np.int64))
    as_tokens = editor.add_weight(f"{base}/tokens_shape", np.array(tokens, np.int64))
    mixed = NodeProto()
    mixed.CopyFrom(depthwise)
    mixed.input[0] = f"{base}/expanded"
    editor.replace(
        depthwise,
        helper.make_node("Reshape", [expand.source, as_map], [f"{base}/map"], name=f"{base}/map"),
        _turned(f"{base}/map", f"{base}/turned", TO_CHANNELS_FIRST),
        _convolution(editor, expand, f"{base}/turned", f"{base}/expanded"),
        mixed,
    )
    editor.replace(
        project.last,
        _convolution(editor, project, project.source, f"{base}/projected"),
        _turned(f"{base}/projected", f"{base}/back", TO_CHANNELS_LAST),
        helper.make_node("Reshape", [f"{base}/back", as_tokens], project.last.output, name=f"{base}/tokens"),
    )


def _turned(name: str, result: str, axes: list[int]) -> NodeProto:
    return helper.make_node("Transpose", [name], [result], name=result, perm=axes)


def _convolution(editor: GraphEditor, linear: Linear, source: str, result: str) -> NodeProto:
    name = linear.last.name
    weight = editor.add_weight(f"{name}/kernel", linear.weight.T[:, :, None, None])
    bias = editor.add_weight(f"{name}/bias", linear.bias)
    return helper.make_node("Conv", [source, weight, bias], [result], name=name, kernel_shape=[1, 1])


def _before_gelu(editor: GraphEditor, name: str) -> str | None:
    """What a tensor is the GELU of: x / sqrt(2), Erf, + 1, * x, / 2 are five nodes, which ONNX Runtime makes one."""
    half = editor.before(name, "Mul", "Mul")
    inner = editor.before(half[1].input[1], "Add", "Erf", "Div") if half else []
    if not inner or inner[-1].input[0] != half[1].input[0]:
        return None
    return half[1].input[0]


def _after_gelu(editor: GraphEditor, name: str) -> str | None:
    """The tensor that is the GELU of another."""
    for taker in editor.takers(name):
        inner = editor.after(taker.output[0], "Erf", "Add", "Mul", "Mul") if taker.op_type == "Div" else []
        if inner and name in inner[2].input:
            return str(inner[3].output[0])
    return None
