"""Values as wide as keys, for engines: the same function, and the same nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="reads ONNX graphs")
pytest.importorskip("onnxruntime", reason="the graphs are run with ONNX Runtime")
pytest.importorskip("torch", reason="export needs PyTorch")
from onnx import ModelProto, TensorProto, helper

from asymformer_ros.engine.source import plain_graph, typed_graph
from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.export import ExportOptions, export_model
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.onnx_file import describe
from asymformer_ros.network import SMALL
from asymformer_ros.onnx_graph.attention import widen_values
from asymformer_ros.onnx_graph.session import GraphSession
from asymformer_ros.onnx_graph.simplify import tensor_shapes

SIZE = (64, 96)


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=SIZE)


@pytest.fixture(scope="module")
def model(bundle: ModelBundle) -> ModelProto:
    return export_model(bundle, ExportOptions(batch=2))


def widths(model: ModelProto) -> list[tuple[int, int]]:
    """Width of keys and of values of each attention."""
    shapes, makers = tensor_shapes(model.graph), {name: node for node in model.graph.node for name in node.output}
    softmaxes = {node.output[0]: node for node in model.graph.node if node.op_type == "Softmax"}
    products = [node for node in model.graph.node if node.input[0] in softmaxes]
    queries = [makers[softmaxes[node.input[0]].input[0]].input[0] for node in products]
    return [(shapes[query][-1], shapes[node.input[1]][-1]) for query, node in zip(queries, products, strict=True)]


def run(model: ModelProto) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    rgb, depth = rng.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8), rng.uniform(0.3, 9, (2, *SIZE)).astype(np.float32)
    return GraphSession(model).run(None, {"rgb": rgb, "depth": np.stack([depth_bytes(image) for image in depth])})


def test_values_are_as_wide_as_keys_and_answers_stay(model: ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    wide = widen_values(model)
    onnx.checker.check_model(wide, full_check=True)
    assert [pair for pair in widths(model) if pair[0] != pair[1]] == [(16, 8), (32, 16), (64, 32)]
    assert widths(wide) == [(keys, keys) for keys, _ in widths(model)]
    assert [node.name for node in wide.graph.node] == [node.name for node in model.graph.node]
    for ours, theirs in zip(run(wide), run(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.SerializeToString(deterministic=True) == before


def test_class_scores_differ_by_rounding_only(bundle: ModelBundle) -> None:
    scores = export_model(bundle, ExportOptions(batch=2, outputs="logits4"))
    np.testing.assert_allclose(*(run(graph)[0] for graph in (widen_values(scores), scores)), atol=1e-6)


def test_attention_of_another_form_stays_as_it_is() -> None:
    names = ("query", "key", "value")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, [(2, 5, 8), (2, 8, 5), (2, 5, 3)], strict=True)
    ]
    nodes = [
        helper.make_node("MatMul", names[:2], ["scores"], name="scores"),
        helper.make_node("Softmax", ["scores"], ["shares"], name="shares"),
        helper.make_node("MatMul", ["shares", "value"], ["seen"], name="seen"),
    ]
    outputs = [helper.make_tensor_value_info("seen", TensorProto.FLOAT, (2, 5, 3))]
    graph = helper.make_graph(nodes, "attention", inputs, outputs)
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert widen_values(other).graph.node == other.graph.node


def with_argmax(model: ModelProto) -> ModelProto:
    """Labels as exports of older versions have them."""
    old = ModelProto()
    old.CopyFrom(model)
    nodes = [node for node in model.graph.node if node.output[0] != "labels"]
    scores = next(node for node in reversed(nodes) if node.op_type == "Resize").output[0]
    nodes.append(helper.make_node("ArgMax", [scores], ["best"], name="/classify/ArgMax", axis=1, keepdims=0))
    nodes.append(helper.make_node("Cast", ["best"], ["labels"], name="/classify/labels", to=TensorProto.UINT8))
    del old.graph.node[:]
    old.graph.node.extend(nodes)
    return old


def test_engines_of_older_files_get_labels_without_argmax_and_wide_values(model: ModelProto) -> None:
    old = with_argmax(model)
    for graph in (old, model):
        plain = plain_graph(describe(graph, "", Path("model.onnx")))
        assert "ArgMax" not in {node.op_type for node in plain.graph.node}
        assert all(keys == values for keys, values in widths(plain))
        for ours, theirs in zip(run(plain), run(old), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_an_engine_is_built_of_has_the_temperature(bundle: ModelBundle) -> None:
    cool = ModelBundle(replace(bundle.card, temperature=0.5), bundle.network)
    exported = export_model(cool, ExportOptions(batch=2))
    plain = plain_graph(describe(exported, "", Path("model.onnx")))
    np.testing.assert_array_equal(run(plain)[1], run(exported)[1])


def test_wide_values_are_halved_with_the_rest(model: ModelProto) -> None:
    half = typed_graph(widen_values(model), "fp16", ())
    onnx.checker.check_model(half, full_check=True)
    assert {keys == values for keys, values in widths(half)} == {True}
