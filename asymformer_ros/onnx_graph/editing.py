"""What rewrites of ONNX graphs share, for engines and CPUs: makers and takers, chains, nodes in the place of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from asymformer_ros.onnx_graph.simplify import tensor_shapes

TO_CHANNELS_LAST, TO_CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
HEADS_FIRST = [0, 2, 1, 3]


class Linear(NamedTuple):
    """A linear layer: the node that ends it, the tensor that it takes, weight (in, out) and bias (out)."""

    last: NodeProto
    source: str
    weight: NDArray[Any]
    bias: NDArray[Any]


class GraphEditor:
    """Makes of a graph, as `simplify` makes it, another one that is changed node by node; the graph stays as it is."""

    def __init__(self, model: ModelProto) -> None:
        self._model, graph = model, model.graph
        self.shapes = tensor_shapes(graph)
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._outputs = {value.name for value in graph.output}
        self._nodes: list[NodeProto] = [_copied(node) for node in graph.node]
        self._instead: dict[int, Sequence[NodeProto]] = {}
        self._makers: dict[str, NodeProto] = {}
        self._takers: dict[str, list[NodeProto]] = {}
        for node in self._nodes:
            self._enter(node)

    @property
    def is_shaped(self) -> bool:
        """Whether the shape of every tensor is known."""
        return all(name in self.shapes for node in self._nodes for name in node.output if name)

    def pointwise(self, conv: NodeProto) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Weight (in, out) and bias (out) of a plain 1x1 convolution with a bias; None of any other."""
        kernel, bias = (self.weight(name) for name in (*conv.input[1:3], "", "")[:2])
        plain = {"strides": [1, 1], "group": 1, "pads": [0, 0, 0, 0], "dilations": [1, 1], "auto_pad": b"NOTSET"}
        given = attributes(conv)
        if kernel is None or bias is None or kernel.shape[2:] != (1, 1):
            return None
        if any(given.get(name, value) != value for name, value in plain.items()):
            return None
        return kernel[:, :, 0, 0].T, bias

    def all(self, kind: str) -> list[NodeProto]:
        """The nodes of a kind, in the order of the graph."""
        return [node for node in self._in_order() if node.op_type == kind]

    def weight(self, name: str) -> NDArray[Any] | None:
        """The values of a tensor that is a weight or another constant."""
        tensor = self._weights.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add_weight(self, name: str, values: NDArray[Any]) -> str:
        """A new constant; returns its name."""
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        self.shapes[name] = values.shape
        return name

    def maker(self, name: str, kind: str) -> NodeProto | None:
        """The node that makes a tensor, where it is of this kind."""
        node = self._makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def takers(self, name: str) -> Sequence[NodeProto]:
        """The nodes that take a tensor."""
        return self._takers.get(name, ())

    def before(self, name: str, *kinds: str) -> list[NodeProto]:
        """The nodes that a tensor comes from, the last one first, where they are of these kinds and for it alone.

        A node with several inputs is followed to the first that is no weight.
        """
        found: list[NodeProto] = []
        for kind in kinds:
            node = self.maker(name, kind)
            if node is None or len(self.takers(name)) != 1 or name in self._outputs:
                return []
            found.append(node)
            name = next((value for value in node.input if value not in self._weights), "")
        return found

    def after(self, name: str, *kinds: str) -> list[NodeProto]:
        """The nodes that a tensor goes to, where they are of these kinds and nothing else takes what is on the way."""
        found: list[NodeProto] = []
        for kind in kinds:
            takers = self.takers(name)
            if len(takers) != 1 or takers[0].op_type != kind or name in self._outputs:
                return []
            found.append(takers[0])
            name = takers[0].output[0]
        return found

    def linear(self, name: str) -> Linear | None:
        """What a tensor is a linear layer of; None where it is made otherwise, or not for itself alone."""
        add = self.maker(name, "Add")
        product = self.before(next((one for one in add.input if one not in self._weights), ""), "MatMul") if add else []
        if add is None or not product:
            return None
        bias = next((values for one in add.input if (values := self.weight(one)) is not None), None)
        weight = self.weight(product[0].input[1])
        if bias is None or bias.ndim != 1 or weight is None or weight.ndim != 2:
            return None
        return Linear(add, product[0].input[0], weight, bias)

    def replace(self, old: NodeProto, *new: NodeProto) -> None:
        """Put nodes in the place of one; those that nothing takes any more are left out in the end."""
        self._instead[id(old)] = new
        for name in old.input:
            self._takers[name] = [node for node in self._takers[name] if node is not old]
        for node in new:
            self._enter(node)

    def rename_input(self, old: str, new: str) -> None:
        """Let all that takes a tensor take another one."""
        for node in self._takers.pop(old, []):
            for index, name in enumerate(node.input):
                node.input[index] = new if name == old else name
            self._takers.setdefault(new, []).append(node)

    def change_weight(self, node: NodeProto, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Give a node a weight of its own, made of the one that it has."""
        index, name = next((index, name) for index, name in enumerate(node.input) if name in self._weights)
        node.input[index] = self.add_weight(f"{node.name}_own", change(numpy_helper.to_array(self._weights[name])))

    def finish(self) -> ModelProto:
        """The changed graph, without what nothing takes and without inferred shapes. The editor ends with this."""
        graph, nodes = self._model.graph, list(self._sorted())
        used = {name for node in nodes for name in node.input}
        weights = [tensor for name, tensor in self._weights.items() if name in used]
        finished = helper.make_model(
            helper.make_graph(nodes, graph.name, graph.input, graph.output, weights),
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
            producer_name=self._model.producer_name,
            producer_version=self._model.producer_version,
        )
        finished.metadata_props.extend(self._model.metadata_props)
        return finished

    def _sorted(self) -> Iterator[NodeProto]:
        """The nodes that the outputs need, in the order of the graph as far as each stands behind what it takes."""
        needed, left = set[int](), [self._makers[name] for name in self._outputs]
        while left:
            node = left.pop()
            if id(node) not in needed:
                needed.add(id(node))
                left += [self._makers[name] for name in node.input if name in self._makers]
        there, waiting = set[str](), [node for node in self._in_order() if id(node) in needed]
        while waiting:
            late = []
            for node in waiting:
                if all(name in there or name not in self._makers for name in node.input):
                    there.update(node.output)
                    yield node
                else:
                    late.append(node)
            waiting = late

    def _enter(self, node: NodeProto) -> None:
        self._makers.update(dict.fromkeys(node.output, node))
        for name in set(node.input):
            self._takers.setdefault(name, []).append(node)

    def _in_order(self) -> list[NodeProto]:
        def of(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
            for node in nodes:
                if id(node) in self._instead:
                    yield from of(self._instead[id(node)])
                else:
                    yield node

        return list(of(self._nodes))


def order(transpose: NodeProto) -> list[int]:
    """Which axis of the input each axis of a Transpose's output is; [] where it does not say."""
    return next((list(helper.get_attribute_value(a)) for a in transpose.attribute if a.name == "perm"), [])


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
