"""Graphs rewritten for CPUs: the labels of the network as it was trained, by each rewrite and by all together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="only PyTorch can export a model to rewrite")
onnx = pytest.importorskip("onnx", reason="rewrites ONNX graphs")
pytest.importorskip("onnxruntime", reason="runs them")
from engine_models import write_tiny
from onnx import ModelProto
from test_onnxruntime import foreign_file

from asymformer_ros.cli.main import main
from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.camera_network import plain_labels
from asymformer_ros.models.catalogue import DEMO, ROOMS
from asymformer_ros.models.export import ExportOptions, export_model
from asymformer_ros.models.scores import classify
from asymformer_ros.models.signature import camera_feeds
from asymformer_ros.onnx_graph.cpu import REWRITES, for_cpu, is_for_cpu
from asymformer_ros.onnx_graph.session import GraphSession
from asymformer_ros.onnx_graph.simplify import simplify


@pytest.fixture(scope="module", params=[DEMO, ROOMS], ids=["demo", "rooms"])
def bundle(request: pytest.FixtureRequest) -> ModelBundle:
    return ModelBundle.load(request.param.bundle)


@pytest.fixture(scope="module")
def plain(bundle: ModelBundle) -> ModelProto:
    return export_model(bundle, ExportOptions(outputs="logits4"))


def scores(graph: ModelProto, frame: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return GraphSession(graph).run(None, camera_feeds(*frame))[0]


@pytest.mark.parametrize("rewrite", REWRITES)
def test_each_rewrite_changes_something_and_no_score(bundle: ModelBundle, plain: ModelProto, rewrite: str) -> None:
    if rewrite == "blocks" and bundle.network.config.rgb_backbone != "convnext":
        pytest.skip("EfficientNet's blocks are convolutions already")
    if rewrite == "input" and bundle.network.config.rgb_backbone == "convnext":
        pytest.skip("ConvNeXt's first convolution normalises")
    graph = for_cpu(plain, (rewrite,))
    before, after = (Counter(node.op_type for node in model.graph.node) for model in (plain, graph))
    assert (before == after) == (rewrite == "input")  # which changes their order
    if rewrite == "input":
        kinds = [node.op_type for node in graph.graph.node]
        assert kinds[kinds.index("Cast") :][:4] == ["Cast", "Transpose", "Mul", "Add"]
    frame = resize_frame(next(iter(sample_frames(None, 1))), bundle.card.input_size)
    expected = scores(plain, frame)
    np.testing.assert_allclose(scores(graph, frame), expected, atol=1e-5 * np.abs(expected).max())


def test_all_labels_are_those_of_the_unfolded_network(bundle: ModelBundle, plain: ModelProto, recording: Path) -> None:
    graph = for_cpu(plain)
    onnx.checker.check_model(graph, full_check=True)
    kinds = Counter(node.op_type for node in graph.graph.node)
    assert (kinds["Softmax"], kinds["MultiHeadAttention"]) == (0, 11)
    session = GraphSession(graph)
    for sample in sample_frames(recording, 4):
        frame = resize_frame(sample, bundle.card.input_size)
        (logits,) = session.run(None, camera_feeds(*frame))
        labels, _ = classify(logits[0], bundle.card.input_size)
        assert (labels != plain_labels(bundle, *frame)).mean() <= 2e-5  # two scores that are equal but for rounding


def test_several_images_at_a_time_are_rewritten_as_far_as_it_is_right() -> None:
    bundle = ModelBundle.load(DEMO.bundle)
    options = ExportOptions(input_size=(64, 96), batch=2, outputs="logits4")
    plain = export_model(bundle, options)
    rng = np.random.default_rng(1)
    feeds = {
        "rgb": rng.integers(0, 256, (2, 64, 96, 3), dtype=np.uint8),
        "depth": rng.integers(0, 20, (2, 64, 96, 2), dtype=np.uint8),
    }
    expected, ours = (GraphSession(graph).run(None, feeds)[0] for graph in (plain, for_cpu(plain)))
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


def test_the_graph_that_is_given_stays_as_it_was(plain: ModelProto) -> None:
    before = plain.SerializeToString(deterministic=True)
    for_cpu(plain)
    assert plain.SerializeToString(deterministic=True) == before


def test_other_graphs_keep_their_nodes(tmp_path: Path) -> None:
    for path in (foreign_file(tmp_path / "theirs.onnx"), write_tiny(tmp_path / "tiny.onnx")):
        graph = simplify(onnx.load(str(path)))
        assert list(for_cpu(graph).graph.node) == list(graph.graph.node)


def test_a_file_for_cpus_is_exported_and_served_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "demo.onnx"
    words = ["export", "demo", str(path), "--classes-out", "logits4", "--target", "cpu"]
    assert main(words) == 0
    assert is_for_cpu(onnx.load(str(path)))
    known = open_backend("onnxruntime", "demo")
    monkeypatch.delattr("asymformer_ros.onnx_graph.fastest.for_cpu")  # nothing is rewritten again
    served = open_backend("onnxruntime", str(path))
    frame = resize_frame(next(iter(sample_frames(None, 1))), served.card.input_size)
    np.testing.assert_array_equal(served.infer(*frame).labels, known.infer(*frame).labels)


def test_a_graph_for_cpus_gives_scores_in_fp32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="add `--classes-out logits4`"):
        ExportOptions(target="cpu")
    with pytest.raises(ConfigurationError, match="target is 'gpu': expected one of any, cpu"):
        ExportOptions(target="gpu")
    words = ["--target", "cpu", "--classes-out", "logits4", "--precision", "mixed", "--report", "report.json"]
    assert main(["export", "demo", str(tmp_path / "out.onnx"), *words]) == 1
    assert "a graph for CPUs is in fp32" in capsys.readouterr().err
