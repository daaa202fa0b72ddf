"""Labels and class scores are cut out of one graph, whichever of them it was made to give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="changes ONNX graphs")
pytest.importorskip("onnxruntime", reason="runs the changed graphs with ONNX Runtime")
from onnx import TensorProto, helper, numpy_helper

from asymformer_ros.errors import CheckpointError
from asymformer_ros.models.scores import classify
from asymformer_ros.onnx_graph.mixed import to_mixed
from asymformer_ros.onnx_graph.outputs import give_labels, give_logits4
from asymformer_ros.onnx_graph.session import GraphSession
from asymformer_ros.onnx_graph.simplify import simplify

SHAPE = (1, 5, 4, 6)
SIZE = (16, 24)


def scores_graph(mode: str = "linear", *, resized: bool = True) -> onnx.ModelProto:
    """x (1, 5, 4, 6) times 2, then resized to four times the size where that is asked for."""
    shape = (*SHAPE[:2], *SIZE) if resized else SHAPE
    nodes = [helper.make_node("Mul", ["x", "two"], ["scores"], name="scores")]
    if resized:
        nodes.append(helper.make_node("Resize", ["scores", "", "", "sizes"], ["out"], name="resize", mode=mode))
    graph = helper.make_graph(
        nodes,
        "scores",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("out" if resized else "scores", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            numpy_helper.from_array(np.array((*SHAPE[:2], *SIZE), np.int64), "sizes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"whose": "ours"})
    return simplify(model)


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> list[NDArray[np.generic]]:
    onnx.checker.check_model(model, full_check=True)
    return GraphSession(model).run(None, {"x": x})


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 30.0]))
def test_the_graph_the_scores_and_the_tail_on_the_cpu_say_the_same(seed: int, spread: float) -> None:
    x = np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32) * np.float32(spread)
    labels, confidence = run(give_labels(scores_graph()), x)
    (logits,) = run(give_logits4(scores_graph()), x)
    np.testing.assert_array_equal(logits, x * 2)
    ours = classify(logits[0], SIZE, with_confidence=True)
    np.testing.assert_array_equal(ours[0], labels[0])
    assert ours[1] is not None
    assert np.abs(ours[1].astype(int) - confidence[0]).max() <= 1


def test_of_equal_scores_the_first_class_wins() -> None:
    x = np.array([0, 3, 1, 3, 3], np.float32).reshape(1, 5, 1, 1) * np.ones(SHAPE, np.float32)
    labels, confidence = run(give_labels(scores_graph()), x)
    assert np.unique(labels).tolist() == [1]
    assert np.unique(confidence).tolist() == [round(255 / (3 + np.exp(-6) + np.exp(-4)))]


def test_scores_are_found_in_a_graph_of_labels() -> None:
    labels = give_labels(scores_graph())
    assert give_logits4(labels).graph.node == give_logits4(scores_graph()).graph.node
    assert give_labels(labels).SerializeToString(deterministic=True) == labels.SerializeToString(deterministic=True)


def test_what_is_known_about_the_model_stays() -> None:
    for changed in (give_labels(scores_graph()), give_logits4(scores_graph())):
        assert [(entry.key, entry.value) for entry in changed.metadata_props] == [("whose", "ours")]


@pytest.mark.parametrize("graph", [scores_graph(resized=False), scores_graph("nearest")])
def test_scores_that_no_bilinear_resize_ends_in_stay_as_they_are(graph: onnx.ModelProto) -> None:
    x = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    (expected,), (logits,) = run(graph, x), run(give_logits4(graph), x)
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(run(give_labels(graph), x)[0], expected.argmax(axis=1))


def test_scores_of_a_mixed_graph_come_out_in_float32() -> None:
    mixed = to_mixed(give_labels(scores_graph()), ())
    assert {value.type.tensor_type.elem_type for value in mixed.graph.value_info} & {TensorProto.FLOAT16}
    (logits,) = run(give_logits4(mixed), np.ones(SHAPE, np.float32))
    assert (logits.dtype, logits.shape) == (np.float32, SHAPE)


def test_labels_without_scores_are_refused() -> None:
    graph = give_labels(scores_graph(resized=False))
    with pytest.raises(CheckpointError, match="gives labels, confidence, and there is no bilinear resize"):
        give_logits4(graph)
