"""Files that users give: what damaged ones did once, and that none of them runs code."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import struct
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from asymformer_ros.errors import AsymformerError, CheckpointError, ConfigurationError
from asymformer_ros.frames.images import decode_image


def test_a_png_whose_chunk_claims_4_gigabytes_is_refused_at_once() -> None:
    """OpenCV allocates and clears what a chunk's length says: 12 seconds for these hundred bytes."""
    png = cv2.imencode(".png", np.ones((6, 8), np.uint16))[1].tobytes()
    at = png.index(b"IDAT") - 4
    damaged = png[:at] + struct.pack(">I", 0xF700002E) + png[at + 4 :]
    start = perf_counter()
    assert decode_image(np.frombuffer(damaged, np.uint8), cv2.IMREAD_UNCHANGED) is None
    assert perf_counter() - start < 1


def test_an_onnx_file_with_an_input_of_no_type_is_refused_by_name(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="reads ONNX files")
    from asymformer_ros.models.onnx_file import read_onnx

    value = onnx.helper.make_tensor_value_info
    inputs = [value("rgb", 0, (1, 3, 32, 32)), value("depth", 1, (1, 1, 32, 32))]
    node = onnx.helper.make_node("Identity", ["rgb"], ["y"])
    graph = onnx.helper.make_graph([node], "g", inputs, [value("y", 1, (1, 2, 32, 32))])
    (tmp_path / "odd.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(CheckpointError, match=r"odd.onnx has the inputs and outputs rgb of type 0"):
        read_onnx(tmp_path / "odd.onnx")


class Exploit:
    """A pickle that would make a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_code_in_the_state_of_a_training_is_refused_and_never_runs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads states of trainings")
    from asymformer_ros.training.state import STATE, load_state

    torch.save({"settings": "{}", "trainer": Exploit(tmp_path / "trace"), "progress": {}}, tmp_path / STATE)
    with pytest.raises(CheckpointError, match="is no state of a training"):
        load_state(tmp_path, {})
    assert not (tmp_path / "trace").exists()


def test_an_onnx_file_takes_its_weights_from_beside_it_alone(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="reads ONNX files")
    from asymformer_ros.models.onnx_file import read_onnx

    (tmp_path / "secret").write_bytes(bytes(8))
    folder = tmp_path / "models"
    folder.mkdir()
    weight = onnx.TensorProto(name="w", dims=[2], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../secret")
    output = onnx.helper.make_tensor_value_info("w", 1, (2,))
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [output], [weight]))
    (folder / "thief.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="thief.onnx is no readable ONNX file"):
        read_onnx(folder / "thief.onnx")


TARGETS = ("compressed_depth", "compressed_colour", "checkpoint", "bundle", "onnx", "label_set")
READERS = {
    r"torch\.load\((?!.*weights_only=True)": "torch.load without weights_only",
    r"np\.load\((?!.*allow_pickle=False)": "np.load with pickles",
    r"yaml\.(load|unsafe_load|full_load)\(": "YAML that makes objects",
    r"\bpickle\.(load|loads|Unpickler)\b": "pickles",
    r"(?<![\w.])(eval|exec)\(": "code",
}


def test_no_reader_of_the_package_runs_what_it_reads() -> None:
    """A guard: these are the ways in Python by which reading a file runs code."""
    found = [
        f"{path.name}: {why}"
        for folder in ("asymformer_ros", "launch")
        for path in (ROOT / folder).rglob("*.py")
        for pattern, why in READERS.items()
        if re.search(pattern, path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("target", TARGETS)
def test_a_few_seconds_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    """`scripts/fuzz` for two seconds; what it finds is written to the folder that the failure names."""
    pytest.importorskip("atheris", reason="atheris is not installed: `pip install atheris`")
    command = [sys.executable, str(ROOT / "scripts/fuzz"), target, "--seconds", "2", "--crashes", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, f"{list(tmp_path.rglob('*-*'))}\n{run.stderr[-3000:]}"


@pytest.mark.parametrize("target", TARGETS)
def test_the_fuzzer_s_own_seeds_are_read_or_refused(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("rclpy", "torch", "onnx"):
        pytest.importorskip(library, reason="the fuzzer's readers need it")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import fuzz

    assert tuple(fuzz.TARGETS) == TARGETS
    read, seeds = fuzz.TARGETS[target]()
    for seed in seeds:
        for end in (0, len(seed) // 3, len(seed) - 1, len(seed)):
            read(seed[:end])


def test_without_atheris_the_fuzzer_says_how_to_get_it(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris"):
        pytest.skip("atheris is installed")
    command = [sys.executable, str(ROOT / "scripts/fuzz"), "label_set", "--crashes", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert "pip install atheris" in run.stderr


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([-1, 0, 10**9, ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a JSON tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


@st.composite
def damaged(draw: Any, tree: Any) -> str:
    """JSON text of a tree in which one to three values are other ones, or which is nested beyond all measure."""
    for _ in range(draw(st.integers(1, 3))):
        tree = replaced(tree, draw(st.sampled_from(places(tree))), draw(Json))
    return json.dumps(tree) if draw(st.integers(0, 20)) else "[" * 100_000


@cache
def tiny_metadata() -> dict[str, str]:
    """Of the package's own bundle, with a card of two classes."""
    from safetensors import safe_open

    with safe_open(ROOT / "asymformer_ros/models/weights/demo.safetensors", "np") as file:
        metadata: dict[str, str] = file.metadata()
    card = json.loads(metadata["card"])
    card["label_set"]["classes"] = card["label_set"]["classes"][:2]
    return {**metadata, "card": json.dumps(card)}


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_bundle_with_any_card_and_configuration_is_refused_by_name(data: st.DataObject) -> None:
    pytest.importorskip("torch", reason="reads bundles")
    from safetensors.numpy import save

    from asymformer_ros.models.bundle import ModelBundle

    metadata = tiny_metadata()
    changed = data.draw(st.sampled_from(["card", "config"]))
    metadata = {**metadata, changed: data.draw(damaged(json.loads(metadata[changed])))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "odd.safetensors"
        file.write_bytes(save({"x": np.zeros(2, np.float32)}, metadata))
        with pytest.raises(CheckpointError, match="odd.safetensors"):
            ModelBundle.load(file)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_label_set_of_any_json_is_read_or_refused(data: st.DataObject) -> None:
    from asymformer_ros.models.labels import read_label_set

    tree = json.loads(tiny_metadata()["card"])["label_set"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "odd.json"
        file.write_text(data.draw(damaged(tree)))
        with contextlib.suppress(AsymformerError):
            read_label_set(str(file))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_an_engine_s_manifest_of_any_json_is_read_or_refused(data: st.DataObject) -> None:
    from test_engine_cache import IDENTITY, manifest

    from asymformer_ros.engine.manifest import EngineManifest

    text = data.draw(damaged(json.loads(manifest(IDENTITY, Path(__file__)).to_json())))
    with contextlib.suppress(ValueError):
        EngineManifest.from_json(text)


def test_a_card_of_a_gigantic_input_is_refused() -> None:
    from asymformer_ros.models.card import ModelCard

    card = json.loads(tiny_metadata()["card"])
    with pytest.raises(ConfigurationError, match="input size must be at most 4096x4096, got 32000000x32"):
        ModelCard.from_json({**card, "input_size": [32_000_000, 32]})
