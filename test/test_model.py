"""A model is opened once: what it is, its hash, its classes, and the graph that everything else is made of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the models of these tests are ONNX files")
pytest.importorskip("onnxruntime", reason="the models of these tests are ONNX files")
from test_onnxruntime import SIZE, foreign_file

from asymformer_ros.errors import AsymformerError, CheckpointError, ConfigurationError
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.models.opening import open_model

ROOT = Path(__file__).parents[1]
FIVE = LabelSet("workshop", ("floor", "wall", "bench", "robot", "person"), tuple((50 * n, 0, 255) for n in range(5)))


@pytest.fixture
def five(tmp_path: Path) -> str:
    """A label set of one's own, as a file."""
    path = tmp_path / "five.json"
    path.write_text(json.dumps(FIVE.to_json()))
    return str(path)


def test_another_network_with_classes_of_ones_own_is_served_like_ours(tmp_path: Path, five: str) -> None:
    path = str(foreign_file(tmp_path / "theirs.onnx", classes=5))
    assert open_model(path, label_set=five).card.label_set == FIVE
    rgb, depth = np.zeros((*SIZE, 3), np.uint8), np.ones(SIZE, np.float32)
    for backend in (
        open_backend("auto", path, options=ServingOptions(label_set=five)),
        open_serving(path, ServingOptions(device="cpu", label_set=five)),
    ):
        assert backend.card.label_set == FIVE
        assert backend.infer(rgb, depth).labels.max() < 5


def test_a_label_set_of_another_number_is_refused_with_both_numbers(tmp_path: Path, five: str) -> None:
    path = str(foreign_file(tmp_path / "theirs.onnx", classes=6))
    with pytest.raises(ConfigurationError, match="theirs.onnx has 6 classes but label set workshop has 5"):
        open_model(path, label_set=five)
    with pytest.raises(CheckpointError, match="has 6 classes and no label set.*`label_set` or `--label-set`"):
        open_model(path)
    pytest.importorskip("torch", reason="bundles are PyTorch's")
    with pytest.raises(ConfigurationError, match="the network has 40 classes but label set workshop has 5"):
        open_model("demo", label_set=five, form="bundle")


def test_classes_of_ones_own_take_the_place_of_those_in_the_file(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="bundles are PyTorch's")
    names = LabelSet("forty", tuple(f"class {n}" for n in range(40)), tuple((n, n, n) for n in range(40)))
    (tmp_path / "forty.json").write_text(json.dumps(names.to_json()))
    assert open_model("untrained", label_set=str(tmp_path / "forty.json")).card.label_set == names
    assert open_model("demo", label_set=str(tmp_path / "forty.json"), form="onnx").card.label_set == names


def test_weights_beside_an_onnx_file_are_part_of_its_hash(tmp_path: Path) -> None:
    hashes = []
    for weight in (1.0, 2.0):
        proto = onnx.load(str(foreign_file(tmp_path / "whole.onnx", weight=weight)))
        folder = tmp_path / str(weight)
        folder.mkdir()
        onnx.save(proto, str(folder / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0)
        hashes.append(open_model(str(folder / "m.onnx")).sha256)
    assert (tmp_path / "1.0/m.onnx").read_bytes() == (tmp_path / "2.0/m.onnx").read_bytes()
    assert hashes[0] != hashes[1]
    (tmp_path / "1.0/m.data").unlink()
    with pytest.raises(CheckpointError, match="no readable ONNX file: .*m.data"):
        open_model(str(tmp_path / "1.0/m.onnx"))


def test_a_file_is_not_read_again_after_it_was_opened(tmp_path: Path) -> None:
    path = foreign_file(tmp_path / "theirs.onnx")
    backend = open_backend("auto", str(path))
    path.unlink()
    rgb, depth = np.zeros((*SIZE, 3), np.uint8), np.ones(SIZE, np.float32)
    assert backend.infer(rgb, depth, with_confidence=True).confidence is not None


def test_a_checkpoint_is_opened_with_the_classes_of_its_number(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="checkpoints are PyTorch's")
    from golden import published_state

    torch.save({"model": published_state()}, tmp_path / "theirs.pth")
    model = open_model(str(tmp_path / "theirs.pth"))
    assert (model.card.name, model.card.label_set.name, model.card.input_size) == ("theirs", "nyuv2_40", (480, 640))


def test_a_graph_is_made_once_and_pytorch_imported_only_then() -> None:
    code = """
import sys
from asymformer_ros.models.opening import open_model
model = open_model("demo", form="onnx")
assert model.graph is model.graph
print("torch" in sys.modules, model.model_sha256 != model.sha256)
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False True"


def _edited(path: Path, edit: Callable[[Any], None]) -> str:
    model = onnx.load(foreign_file(path))
    edit(model.graph)
    onnx.save(model, path)
    return str(path)


def _unknown_operator(graph: Any) -> None:
    graph.node[-1].op_type = "Unheard"


def _nothing_for_input(graph: Any) -> None:
    graph.node[-1].input[0] = "nothing"


def _other_shape(graph: Any) -> None:
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 37


def _cut_weights(graph: Any) -> None:
    weights = next(tensor for tensor in graph.initializer if tensor.raw_data)
    weights.raw_data = weights.raw_data[:-1]


@pytest.mark.parametrize("edit", [_unknown_operator, _nothing_for_input, _other_shape, _cut_weights])
def test_a_graph_that_no_library_can_run_takes_one_sentence(tmp_path: Path, edit: Callable[[Any], None]) -> None:
    path = _edited(tmp_path / "theirs.onnx", edit)
    with pytest.raises(AsymformerError, match="contradicts itself|ONNX Runtime failed") as caught:
        open_backend("onnxruntime", path)
    assert "\n" not in str(caught.value)


def test_a_home_and_an_ending_in_capitals_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asymformer_ros.models.catalogue import DEMO

    (tmp_path / "D.ONNX").write_bytes(DEMO.onnx.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_model("~/D.ONNX").proto is not None
