"""The graph of an ONNX file on a CPU: made in memory at the first start, kept meanwhile, and opened at the next."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the models of these tests are ONNX files")
pytest.importorskip("onnxruntime", reason="serves the graphs")
from test_cpu_graph import wait
from test_onnxruntime import SIZE, foreign_file

from asymformer_ros.engine.golden import golden_frames
from asymformer_ros.errors import BackendError
from asymformer_ros.inference import cpu
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.inference.upgrading import UpgradingBackend, progress_of


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_LATER", 0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_file(tmp_path_factory.mktemp("model") / "theirs.onnx")


@pytest.fixture(scope="module")
def kept(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the graphs of the file are, in FP32 and in INT8."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "_LATER", 0.0)
        first = opened(model, folder)
        assert isinstance(first, UpgradingBackend)
        before = labels(first)
        wait(lambda: "serves" in progress_of(first))
        np.testing.assert_array_equal(labels(first), before)
        first.close()
    opened(model, folder, precision="int8").close()
    return folder


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "copy"))


def opened(model: Path, cache: Path, **options: object) -> InferenceBackend:
    return open_serving(str(model), ServingOptions(device="cpu", engine_cache=str(cache), **options))  # type: ignore[arg-type]


def labels(backend: InferenceBackend) -> np.ndarray:
    return backend.infer(*golden_frames(SIZE)[0]).labels


def test_a_second_start_rewrites_nothing_and_needs_no_onnx(model: Path, kept: Path) -> None:
    code = f"""
import sys
sys.modules["onnx"] = sys.modules["torch"] = None
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
backend = open_serving({str(model)!r}, ServingOptions(device="cpu", engine_cache={str(kept)!r}))
print(type(backend).__name__, backend.name, backend.card.input_size)
"""
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert answer.stdout.strip() == f"OnnxRuntimeBackend onnxruntime cpu fp32 {SIZE}"


def test_who_comes_for_a_short_time_takes_what_is_kept_and_keeps_nothing(
    model: Path, kept: Path, tmp_path: Path
) -> None:
    backends = [opened(model, cache, wait=True) for cache in (kept, tmp_path)]
    assert [type(backend) for backend in backends] == [OnnxRuntimeBackend] * 2
    np.testing.assert_array_equal(*map(labels, backends))
    assert backends[0].model_sha256 == backends[1].model_sha256
    assert not list(tmp_path.iterdir())


def damage(slot: Path) -> None:
    content = bytearray((slot / "engine.plan").read_bytes())
    content[len(content) // 2] ^= 1
    (slot / "engine.plan").write_bytes(content)


def age(slot: Path) -> None:
    manifest = json.loads((slot / "manifest.json").read_text())
    manifest["identity"]["builder_version"] = "1.2.3 for processor 0"
    (slot / "manifest.json").write_text(json.dumps(manifest))


def cut(slot: Path) -> None:
    (slot / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (damage, "its plan is damaged: the hash is another one"),
        (age, "built by version 1.2.3 for processor 0, now it is "),
        (cut, "its manifest cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told_and_the_start_is_as_before(
    spoil: Callable[[Path], None], told: str, model: Path, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spoil(next(copy.glob("cpu/*fp32*")))
    assert labels(opened(model, copy, wait=True)).shape == SIZE
    assert f"the graph of {model} in the cache cannot be used: " in caplog.text
    assert told in caplog.text


def test_what_is_damaged_is_made_anew(model: Path, copy: Path) -> None:
    (slot,) = copy.glob("cpu/*fp32*")
    damage(slot)
    backend = opened(model, copy)
    wait(lambda: "serves" in progress_of(backend))
    backend.close()
    assert isinstance(opened(model, copy), OnnxRuntimeBackend)


def test_how_far_a_precision_agrees_is_measured_once(model: Path, copy: Path) -> None:
    (manifest,) = copy.glob("cpu/*int8*/manifest.json")
    told = json.loads(manifest.read_text())
    told["verification"]["agreement"] = 0.125
    manifest.write_text(json.dumps(told))
    backend = opened(model, copy, precision="int8")
    assert backend.agreement.startswith("12.50% of the labels")  # type: ignore[attr-defined]


def test_a_cache_that_cannot_be_written_is_told_and_the_start_is_as_before(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    backend = opened(model, tmp_path / "file" / "cache")
    wait(lambda: "goes on serving" in caplog.text)
    assert "cannot be written" in caplog.text
    assert labels(backend).shape == SIZE
    backend.close()


def test_weights_in_other_files_are_no_part_of_the_key_and_nothing_is_kept(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, whole = tmp_path / "parts.onnx", onnx.load(str(model))
    onnx.save_model(whole, str(path), save_as_external_data=True, size_threshold=0)
    backend = opened(path, tmp_path / "cache")
    wait(lambda: "goes on serving" in caplog.text)
    assert "has weights in other files: no graph is kept" in caplog.text
    assert not list(tmp_path.rglob("engine.plan"))
    backend.close()


def test_a_model_that_is_not_there_is_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="'there' is no file"):
        opened(Path("there"), tmp_path, precision="int8")
