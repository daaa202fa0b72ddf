"""Maps in the order that suits what computes them: images by channels, LAFS in tokens, the decoder channels-last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from asymformer_ros.onnx_graph.editing import TO_CHANNELS_FIRST, TO_CHANNELS_LAST, GraphEditor, order


def normalise_channels_first(editor: GraphEditor) -> None:
    """Turn images before they are normalised: a factor is for a whole plane then, not for every third value."""
    for turn in editor.all("Transpose"):
        steps = editor.before(turn.input[0], "Add", "Mul")
        factors = [one for step in steps for name in step.input if (one := editor.weight(name)) is not None]
        if order(turn) != TO_CHANNELS_FIRST or len(factors) != 2 or any(one.ndim != 1 for one in factors):
            continue
        base, source = turn.name, next(name for name in steps[1].input if editor.weight(name) is None)
        shift, scale = (
            editor.add_weight(f"{base}/{key}", one[:, None, None])
            for key, one in zip(("shift", "scale"), factors, strict=True)
        )
        editor.replace(
            turn,
            _node("Transpose", [source], f"{base}/turned", perm=TO_CHANNELS_FIRST),
            _node("Mul", [f"{base}/turned", scale], f"{base}/scaled"),
            _node("Add", [f"{base}/scaled", shift], turn.output[0]),
        )


def select_in_tokens(editor: GraphEditor) -> None:
    """Compute LAFS and the convolution behind it in tokens.

    The factors of the channels go into the weights of the convolution, those of the places onto its few channels.
    """
    for reduce in editor.all("Conv"):
        factors = editor.before(reduce.input[0], "Mul", "Mul")
        concat = editor.maker(factors[1].input[0], "Concat") if factors else None
        into_tokens = editor.after(reduce.output[0], "Transpose", "Reshape")
        layer = editor.pointwise(reduce)
        if concat is None or layer is None or not into_tokens or order(into_tokens[0]) != TO_CHANNELS_LAST:
            continue
        selection = _Selection.of(editor, concat)
        if selection is not None:
            selection.compute_in_tokens(editor)
            where, which = factors[0].input[1], factors[1].input[1]
            editor.replace(into_tokens[1], *selection.reduced(editor, layer, (where, which), into_tokens[1].output[0]))


@dataclass(frozen=True)
class _Selection:
    """LAFS of one fusion. tokens: names of both maps' tokens. mean, similar: the nodes that take both maps together."""

    name: str
    tokens: tuple[str, ...]
    mean: NodeProto
    similar: NodeProto
    places: int

    @staticmethod
    def of(editor: GraphEditor, concat: NodeProto) -> _Selection | None:
        """What takes the maps of a Concat, one image's, where it is LAFS."""
        tokens = tuple(found for name in concat.input if (found := _as_tokens(editor, name)) is not None)
        means = [node for node in editor.takers(concat.output[0]) if node.op_type == "ReduceMean"]
        flats = [node for node in editor.takers(concat.output[0]) if node.op_type == "Reshape"]
        similar = editor.after(flats[0].output[0], "MatMul") if len(flats) == 1 else []
        images, _, height, width = editor.shapes[concat.output[0]]
        if images != 1 or len(tokens) != len(concat.input) or len(means) != 1 or not similar:
            return None
        return _Selection(concat.name, tokens, means[0], similar[0], height * width)

    def compute_in_tokens(self, editor: GraphEditor) -> None:
        """The mean of both maps, and how similar each place is to what is asked for."""
        both, (mean,), (similar,) = f"{self.name}/tokens", self.mean.output, self.similar.output
        column, row = self._shape(editor, "column", [-1, 1]), self._shape(editor, "row", [1, 1, self.places])
        editor.replace(
            self.mean,
            _node("Concat", self.tokens, both, axis=2),
            _node("ReduceMean", [both], mean, axes=[1], keepdims=0),
        )
        editor.replace(
            self.similar,
            _node("Reshape", [self.similar.input[0], column], f"{self.name}/query"),
            _node("MatMul", [both, f"{self.name}/query"], f"{self.name}/similar"),
            _node("Reshape", [f"{self.name}/similar", row], similar),
        )

    def reduced(
        self, editor: GraphEditor, layer: tuple[NDArray[Any], NDArray[Any]], factors: tuple[str, str], result: str
    ) -> list[NodeProto]:
        """The nodes that multiply by both factors, of places and channels, and by the layer's weight (in, out)."""
        name = self.name
        weight, bias = (editor.add_weight(f"{name}/{key}", one) for key, one in zip(("in", "bias"), layer, strict=True))
        column, places = self._shape(editor, "column", [-1, 1]), self._shape(editor, "places", [1, self.places, 1])
        return [
            _node("Reshape", [factors[1], column], f"{name}/which"),
            _node("Mul", [weight, f"{name}/which"], f"{name}/chosen"),
            _node("MatMul", [f"{name}/tokens", f"{name}/chosen"], f"{name}/reduced"),
            _node("Reshape", [factors[0], places], f"{name}/where"),
            _node("Mul", [f"{name}/reduced", f"{name}/where"], f"{name}/weighed"),
            _node("Add", [f"{name}/weighed", bias], result),
        ]

    def _shape(self, editor: GraphEditor, key: str, sizes: list[int]) -> str:
        return editor.add_weight(f"{self.name}/{key}", np.array(sizes, np.int64))


def _as_tokens(editor: GraphEditor, name: str) -> str | None:
    """The tokens (1, S, C) of a map (1, C, H, W): those it is made of, or those that attention makes of it."""
    turned = editor.maker(name, "Transpose")
    if turned is not None and order(turned) == TO_CHANNELS_FIRST:
        reshape = editor.maker(turned.input[0], "Reshape")
        return reshape.input[0] if reshape is not None and len(editor.shapes[reshape.input[0]]) == 3 else None
    for taker in editor.takers(name):
        reshape = editor.after(taker.output[0], "Reshape") if taker.op_type == "Transpose" else []
        if reshape and order(taker) == TO_CHANNELS_LAST and len(editor.shapes[reshape[0].output[0]]) == 3:
            return str(reshape[0].output[0])
    return None


def decode_channels_last(editor: GraphEditor) -> None:
    """Keep the maps that are resized, added and classified channels-last; only the scores are turned."""
    for classify in editor.all("Conv"):
        relu = editor.before(classify.input[0], "Relu")
        layer = editor.pointwise(classify)
        if not relu or layer is None:
            continue
        nodes: list[NodeProto] = []
        last = _channels_last(editor, relu[0].output[0], nodes)
        if last is None or not any(node.op_type == "Resize" for node in nodes):
            continue
        base = classify.name
        names = (f"{base}/in", f"{base}/out")
        weight, bias = (editor.add_weight(name, values) for name, values in zip(names, layer, strict=True))
        editor.replace(
            classify,
            *nodes,
            _node("MatMul", [last, weight], f"{base}/product"),
            _node("Add", [f"{base}/product", bias], f"{base}/scores"),
            _node("Transpose", [f"{base}/scores"], classify.output[0], perm=TO_CHANNELS_FIRST),
        )


def _channels_last(editor: GraphEditor, name: str, nodes: list[NodeProto]) -> str | None:
    """A map (1, C, H, W) as (1, H, W, C), which gets made by `nodes` of what its parts are made of."""
    turned = editor.maker(name, "Transpose")
    if turned is not None and order(turned) == TO_CHANNELS_FIRST:
        return str(turned.input[0])
    made = next((node for kind in ("Relu", "Add", "Resize") if (node := editor.maker(name, kind)) is not None), None)
    if made is None:
        return None
    parts = [_channels_last(editor, part, nodes) for part in made.input[: 2 if made.op_type == "Add" else 1]]
    if None in parts:
        return None
    copy = NodeProto()
    copy.CopyFrom(made)
    copy.name, copy.input[: len(parts)], copy.output[0] = f"{made.name}_last", parts, f"{name}_last"
    if made.op_type == "Resize":
        images, *rest = editor.shapes[name]
        sizes = np.array([images, *rest[1:], rest[0]], np.int64)
        del copy.input[1:]
        copy.input.extend(["", "", editor.add_weight(f"{copy.name}/sizes", sizes)])
    nodes.append(copy)
    return str(copy.output[0])


def _node(op: str, inputs: Sequence[str], output: str, **attributes: object) -> NodeProto:
    """A node that is called as what it makes."""
    return helper.make_node(op, inputs, [output], name=output, **attributes)
