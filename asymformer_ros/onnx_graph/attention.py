"""Attention in the form that whoever runs it has fused kernels for: TensorRT, or ONNX Runtime on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from asymformer_ros.onnx_graph.editing import HEADS_FIRST, TO_CHANNELS_LAST, GraphEditor, order

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


def widen_values(model: ModelProto) -> ModelProto:
    """A copy in which the values of each attention head are at least as wide as its keys: the same function.

    The weights that make the values get columns of zeros, those that take the answers rows of zeros. Not for CPUs,
    which compute the zeros, too. Attention that is written in another way than the network's stays as it is.
    """
    editor = GraphEditor(model)
    for softmax in editor.all("Softmax"):
        _widen(editor, softmax)
    return onnx.shape_inference.infer_shapes(editor.finish(), strict_mode=True, data_prop=True)


def _widen(graph: GraphEditor, softmax: NodeProto) -> None:
    product = graph.after(softmax.output[0], "MatMul")
    scores = graph.before(softmax.input[0], "MatMul")
    answers = graph.after(product[-1].output[0], "Transpose", "Reshape", "MatMul") if product else []
    values = graph.before(product[-1].input[1], "Transpose", "Reshape", "Add", "MatMul") if product else []
    if not (scores and answers and values):
        return
    (to_heads, split, bias, make), (from_heads, join, take) = values, answers
    *place, heads, width = graph.shapes[split.output[0]]
    keys = graph.shapes[scores[0].input[0]][-1]
    if width >= keys or any(order(node) != [0, 2, 1, 3] for node in (to_heads, from_heads)):
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


def fuse_attention(editor: GraphEditor) -> None:
    """Let attention be ONNX Runtime's own operator, of tokens (1, S, heads * width)."""
    for softmax in editor.all("Softmax"):
        scores, heads = editor.before(softmax.input[0], "MatMul"), editor.shapes[softmax.input[0]][1]
        answers = editor.after(softmax.output[0], "MatMul", *(("Transpose", "Reshape") if heads > 1 else ("Reshape",)))
        if not scores or not answers or (heads > 1 and order(answers[1]) != HEADS_FIRST):
            continue
        product, joined = answers[0], answers[-1]
        nodes: list[NodeProto] = []
        names = (scores[0].input[0], scores[0].input[1], product.input[1])
        sides = zip(names, (HEADS_FIRST, TO_CHANNELS_LAST, HEADS_FIRST), strict=True)
        tokens = [_tokens(editor, name, axes, nodes) for name, axes in sides]
        if None in tokens or len(editor.shapes[joined.output[0]]) != 3:
            continue
        attention = helper.make_node(
            "MultiHeadAttention", tokens, joined.output, name=softmax.name, domain=CONTRIB, num_heads=heads, scale=1.0
        )
        editor.replace(joined, *nodes, attention)


def _tokens(editor: GraphEditor, name: str, axes: list[int], nodes: list[NodeProto]) -> str | None:
    """The tokens (1, S, heads * width) that one side of an attention's products, (1, heads, ...), is made of.

    axes: the order that its Transpose has. nodes: get what has to be made for it.
    """
    single, transpose = editor.maker(name, "Reshape"), editor.maker(name, "Transpose")
    if single is not None and editor.shapes[name][1] == 1 and len(editor.shapes[single.input[0]]) == 3:
        return single.input[0]
    if transpose is not None and order(transpose) == axes:
        reshape = editor.maker(transpose.input[0], "Reshape")
        if reshape is not None and len(editor.shapes[reshape.input[0]]) == 3:
            return reshape.input[0]
        return _flat(editor, transpose.input[0], nodes)
    if transpose is not None and axes == TO_CHANNELS_LAST and order(transpose) == [0, 1, 3, 2]:
        name = transpose.input[0]
    split = editor.maker(name, "Split")
    turned = editor.maker(split.input[0], "Transpose") if split is not None else None
    if split is None or turned is None or order(turned) != HEADS_FIRST:
        return None
    parts = [f"{split.name}/{index}_tokens" for index in range(len(split.output))]
    if not any(parts[0] in node.output for node in nodes):
        widths = [editor.shapes[part][1] * editor.shapes[part][3] for part in split.output]
        sizes = editor.add_weight(f"{split.name}/sizes", np.array(widths, np.int64))
        flat = _flat(editor, turned.input[0], nodes)
        nodes.append(helper.make_node("Split", [flat, sizes], parts, name=f"{split.name}/tokens", axis=2))
    return parts[list(split.output).index(name)]


def _flat(editor: GraphEditor, name: str, nodes: list[NodeProto]) -> str:
    """(1, S, heads, width) as tokens."""
    images, places, *channels = editor.shapes[name]
    shape = editor.add_weight(f"{name}_tokens_shape", np.array([images, places, np.prod(channels)], np.int64))
    nodes.append(helper.make_node("Reshape", [name, shape], [f"{name}_tokens"], name=f"{name}_tokens"))
    return f"{name}_tokens"
