"""A bundle on a CPU: PyTorch serves at once, its graph is made once, checked, kept, and serves from then on."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the models of these tests are bundles")
pytest.importorskip("onnxruntime", reason="serves the graph")
from asymformer_ros.engine import build_child, cpu_graph, cpu_making
from asymformer_ros.engine.child import Outcome
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.disk import StorageError
from asymformer_ros.engine.golden import golden_frames
from asymformer_ros.engine.manifest import file_sha256
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError, CheckpointError
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.inference.upgrading import UpgradingBackend, settle
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.labels import label_set
from asymformer_ros.network import SMALL

ROOT = Path(__file__).resolve().parents[1]
SIZE = (64, 96)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=SIZE).save(path)
    return path


@pytest.fixture(scope="module")
def filled(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the graph of the bundle is."""
    folder = tmp_path_factory.mktemp("cache")
    open_serving(str(bundle), options(folder, backend="onnxruntime")).close()
    return folder


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is exported here")

    monkeypatch.setattr(cpu_graph, "run_child", refuse)


def options(cache: Path, **more: object) -> ServingOptions:
    return ServingOptions(**{"device": "cpu", "engine_cache": str(cache), **more})  # type: ignore[arg-type]


def test_pytorch_serves_until_the_graph_does_and_no_frame_is_lost(bundle: Path, tmp_path: Path) -> None:
    """At another input size than the model's own."""
    backend = open_serving(str(bundle), options(tmp_path, input_size=(96, 96)))
    assert isinstance(backend, UpgradingBackend)
    rgb, depth = golden_frames((96, 96))[0]
    before = backend.infer(rgb, depth).labels
    assert backend.name == "torch cpu fp32"
    settle(backend, BuildContext())
    after = backend.infer(rgb, depth).labels
    assert backend.name == "onnxruntime cpu fp32"
    assert np.mean(before == after) > 0.999
    assert backend.model_sha256 == ModelBundle.load(bundle).sha256
    backend.close()


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("asked", ["auto", "onnxruntime"])
def test_the_graph_is_made_once(bundle: Path, filled: Path, asked: str) -> None:
    backend = open_serving(str(bundle), options(filled, backend=asked))
    assert backend.name == "onnxruntime cpu fp32"
    assert (backend.card.name, backend.card.input_size) == ("untrained", SIZE)
    assert backend.model_sha256 == ModelBundle.load(bundle).sha256


def test_a_graph_that_was_kept_serves_without_pytorch(bundle: Path, filled: Path) -> None:
    code = f"""
import sys
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
print(open_serving({str(bundle)!r}, ServingOptions(engine_cache={str(filled)!r}, device="cpu")).name)
print("torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == ["onnxruntime cpu fp32", "False"]


@pytest.mark.usefixtures("no_export")
def test_another_file_of_the_same_name_has_a_graph_of_its_own(bundle: Path, filled: Path, tmp_path: Path) -> None:
    other = ModelBundle.untrained(SMALL, label_set("nyuv2_40"), seed=1, input_size=SIZE)
    other.save(tmp_path / bundle.name)
    with pytest.raises(AssertionError, match="nothing is exported"):
        open_serving(str(tmp_path / bundle.name), options(filled, backend="onnxruntime"))


@pytest.mark.usefixtures("no_export")
def test_another_input_size_has_a_graph_of_its_own(bundle: Path, filled: Path) -> None:
    with pytest.raises(AssertionError, match="nothing is exported"):
        open_serving(str(bundle), options(filled, backend="onnxruntime", input_size=(96, 96)))


@pytest.mark.usefixtures("no_export")
def test_a_damaged_graph_does_not_serve(bundle: Path, filled: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(filled), str(tmp_path / "copy")], check=True)
    (plan,) = (tmp_path / "copy").rglob("engine.plan")
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)
    with pytest.raises(AssertionError, match="nothing is exported"):
        open_serving(str(bundle), options(tmp_path / "copy", backend="onnxruntime"))


def test_a_cache_that_cannot_be_written_is_told_and_the_graph_serves(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    backend = open_serving(str(bundle), options(tmp_path / "file" / "cache", backend="onnxruntime"))
    assert backend.name == "onnxruntime cpu fp32"
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "cannot be written" in told
    assert "made anew at each start" in told


def test_a_graph_that_answers_otherwise_is_refused_and_pytorch_goes_on(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def differ(request: dict[str, str], _: BuildContext) -> Outcome:
        Path(request["onnx"]).write_bytes(b"a graph")
        return Outcome({"verification": Verification(4, 0.9, finite=True).to_json()}, ())

    monkeypatch.setattr(cpu_graph, "run_child", differ)
    backend = open_serving(str(bundle), options(tmp_path, wait=True))
    assert backend.name == "torch cpu fp32"
    assert "only 90.00% of its labels" in caplog.text
    assert not list(tmp_path.rglob("engine.plan"))


def test_a_damaged_checkpoint_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    with pytest.raises(BackendError, match="damaged.pth"):
        open_serving(str(tmp_path / "damaged.pth"), options(tmp_path, backend="onnxruntime"))
    with pytest.raises(CheckpointError, match="damaged.pth"):
        open_serving(str(tmp_path / "damaged.pth"), options(tmp_path))


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("asked", [{"backend": "onnxruntime"}, {"precision": "int8"}])
def test_a_file_that_cannot_be_read_is_told_by_name(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(cpu_graph, "file_sha256", refuse)
    with pytest.raises(CheckpointError, match=r"cannot read .*small.safetensors: Permission denied"):
        open_serving(str(bundle), options(tmp_path, **asked))


def test_a_child_without_room_for_temporary_files_names_their_folder(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "nice", lambda _: None)
    monkeypatch.setattr(cpu_making, "make_cpu_graph", refuse)
    request = {"model": str(bundle), "sha256": file_sha256(bundle), "label_set": "", "precision": "fp32"}
    with pytest.raises(StorageError, match=r"folder for temporary files .*cannot be written \(No space left"):
        build_child._make_cpu_graph({**request, "input_size": None}, build_child.Reporter(io.StringIO()))


def test_closing_while_it_is_exported_ends_at_once(bundle: Path, tmp_path: Path) -> None:
    backend = open_serving(str(bundle), options(tmp_path))
    assert isinstance(backend, UpgradingBackend)
    wait(lambda: "Exporting" in backend.progress)
    start = time.monotonic()
    backend.close()
    assert time.monotonic() - start < 3
    assert threading.active_count() < 20
    assert not list(tmp_path.rglob(".*.tmp")), os.listdir(tmp_path)


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
