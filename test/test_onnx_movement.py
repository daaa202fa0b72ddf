"""Chains of nodes that move values get shorter, and every value stays."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx", reason="reads ONNX graphs")
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from asymformer_ros.onnx_graph.simplify import simplify

Shape = tuple[int, ...]
Step = tuple[str, Shape]


def chain(source: Shape, steps: list[Step], used: set[int]) -> onnx.ModelProto:
    """Steps one after the other; what comes out of each of `used` is an output of the graph, negated."""
    nodes, weights, name, outputs = [], [], "x", []
    for index, (op, numbers) in enumerate(steps):
        result = f"step{index}"
        if op == "Transpose":
            nodes.append(helper.make_node(op, [name], [result], name=result, perm=numbers))
        else:
            weights.append(numpy_helper.from_array(np.array(numbers, np.int64), f"numbers{index}"))
            nodes.append(helper.make_node(op, [name, f"numbers{index}"], [result], name=result))
        if index in used:
            nodes.append(helper.make_node("Neg", [result], [f"out{index}"], name=f"out{index}"))
            outputs.append(helper.make_tensor_value_info(f"out{index}", TensorProto.FLOAT, None))
        name = result
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, source)]
    graph = helper.make_graph(nodes, "chain", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.op_type != "Neg"]


@st.composite
def chains(draw: st.DrawFn) -> tuple[Shape, list[Step], set[int]]:
    shape = source = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)))
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            order = tuple(draw(st.permutations(range(len(shape)))))
            steps.append(("Transpose", order))
            shape = tuple(shape[axis] for axis in order)
        else:
            first = draw(st.sampled_from([size for size in (1, 2, 3, 4) if prod(shape) % size == 0]))
            shape = draw(st.permutations([first, 1, prod(shape) // first]))
            steps.append(("Reshape", tuple(shape)))
    return source, steps, draw(st.sets(st.integers(0, len(steps) - 1))) | {len(steps) - 1}


@settings(deadline=None, max_examples=60)
@given(chains())
def test_every_output_stays_and_nodes_get_fewer(case: tuple[Shape, list[Step], set[int]]) -> None:
    source, steps, used = case
    model, x = chain(source, steps, used), np.arange(prod(source), dtype=np.float32).reshape(source)
    expected = ReferenceEvaluator(model).run(None, {"x": x})
    short = simplify(model)
    onnx.checker.check_model(short, full_check=True)
    for ours, theirs in zip(ReferenceEvaluator(short).run(None, {"x": x}), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(kinds(short)) <= len(steps)
    assert simplify(short).SerializeToString(deterministic=True) == short.SerializeToString(deterministic=True)


TO_TOKENS: list[Step] = [("Transpose", (0, 2, 3, 1)), ("Reshape", (1, 6, 4))]
TO_MAP: list[Step] = [("Reshape", (1, 2, 3, 4)), ("Transpose", (0, 3, 1, 2))]


@pytest.mark.parametrize(
    ("source", "steps", "left"),
    [
        ((1, 6, 4), TO_MAP + TO_TOKENS, []),
        ((1, 4, 2, 3), TO_TOKENS + TO_MAP, []),
        ((1, 2, 3, 4), TO_MAP[1:] + TO_TOKENS, ["Reshape"]),
        ((1, 6, 4), [("Reshape", (1, 6, 1, 4)), ("Transpose", (0, 2, 1, 3))], ["Reshape"]),
        ((1, 6, 4), [("Reshape", (1, 6, 2, 2)), ("Transpose", (0, 2, 1, 3))], ["Reshape", "Transpose"]),
        ((2, 3), [("Unsqueeze", (2,)), ("Unsqueeze", (3,))], ["Reshape"]),
        ((2, 3, 1), [("Squeeze", (2,))], ["Squeeze"]),
    ],
)
def test_what_is_left_of_a_chain(source: Shape, steps: list[Step], left: list[str]) -> None:
    assert kinds(simplify(chain(source, steps, {len(steps) - 1}))) == left


def test_what_others_need_on_the_way_stays() -> None:
    assert kinds(simplify(chain((1, 6, 4), TO_MAP + TO_TOKENS, {1, 3}))) == ["Reshape", "Transpose"]
