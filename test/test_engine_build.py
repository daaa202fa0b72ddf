"""Building in a child process, with TensorRT-RTX, which builds without a GPU."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

psutil = pytest.importorskip("psutil", reason="psutil is not installed")
pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
from engine_models import builder_of, kill_builder_of, write_tiny

from asymformer_ros.engine.build import GraphFiles, build_plan
from asymformer_ros.engine.context import BuildContext, BuildProgress
from asymformer_ros.engine.disk import writing
from asymformer_ros.engine.driver import NoGpu, probe_gpu
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.export import export_model, write_model
from asymformer_ros.models.onnx_file import load
from asymformer_ros.models.opening import open_bundle, open_model
from asymformer_ros.onnx_graph.mixed import to_mixed

FP32 = BuildOptions("tensorrt_rtx", "fp32")
FP16 = BuildOptions("tensorrt_rtx", "fp16")
NO_NETWORK = r"it holds no network\): export the model again$"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny.onnx")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network, as it is exported for cameras."""
    return _exported(open_bundle("untrained"), tmp_path_factory.mktemp("small") / "small.onnx")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published network, likewise."""
    return _exported(open_bundle("untrained_full"), tmp_path_factory.mktemp("full") / "full.onnx")


def _exported(bundle: ModelBundle, path: Path) -> Path:
    write_model(export_model(bundle), path)
    return path


def _only_the_model_is_left(folder: Path) -> bool:
    return [path.suffix for path in folder.iterdir()] == [".onnx"]


def test_a_plan_is_written_and_described(tiny: Path, tmp_path: Path) -> None:
    seen: list[BuildProgress] = []
    result = build_plan(tiny, tmp_path / "tiny.plan", FP32, BuildContext(seen.append))
    assert (tmp_path / "tiny.plan").stat().st_size > 1000
    assert result.inputs == (("x", (1, 3, 32, 32), "FLOAT"),)
    assert result.outputs == (("z", (1, 8, 32, 32), "FLOAT"),)
    assert result.version
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.onnx", "tiny.plan"]
    told = [step.phase for step in seen if step.phase != "Starting"]  # which a slow start is told as
    assert told[:2] == ["Parsing tiny.onnx", "Building engine"]
    assert all(0 <= step.done <= step.total for step in seen)
    assert [step.seconds for step in seen] == sorted(step.seconds for step in seen)


def test_precisions_are_asked_of_the_engine_only_where_there_is_a_gpu(tiny: Path, tmp_path: Path) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("there is a GPU here")
    result = build_plan(tiny, tmp_path / "tiny.plan", FP32)
    assert result.precisions is None
    assert result.fp32_convolutions is None


def test_a_half_graph_is_built_in_half(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "half.onnx", half=True)
    assert build_plan(model, tmp_path / "half.plan", FP16).outputs == (("z", (1, 8, 32, 32), "HALF"),)


@pytest.mark.parametrize(
    ("half", "options", "told"),
    [(False, FP16, "precision is fp16, but 0 of 1"), (True, FP32, "precision is fp32, but 1 of 1")],
)
def test_a_graph_of_another_precision_is_refused(tmp_path: Path, half: bool, options: BuildOptions, told: str) -> None:
    model = write_tiny(tmp_path / "model.onnx", half=half)
    with pytest.raises(BackendError, match=told):
        build_plan(model, tmp_path / "model.plan", options)
    assert _only_the_model_is_left(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            r"Failed to parse the ONNX model.\): export the model again. ERROR: ",
        ),
        (b"<!DOCTYPE html>", NO_NETWORK),
        (bytes(1000), NO_NETWORK),
        (b"", NO_NETWORK),
    ],
)
def test_a_file_that_is_no_onnx_cannot_be_parsed(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BackendError, match=rf"model.onnx cannot be parsed \(.*{told}"):
        build_plan(tmp_path / "model.onnx", tmp_path / "model.plan", FP32)
    assert _only_the_model_is_left(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"none.onnx does not exist"):
        build_plan(tmp_path / "none.onnx", tmp_path / "none.plan", FP32)


def test_a_plan_that_cannot_be_written_names_folder_size_and_remedy(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"0 MB in the folder .*/file cannot be written \(.*make room there"):
        build_plan(tiny, tmp_path / "file" / "tiny.plan", FP32)


@pytest.mark.parametrize("folder", ["none", "file/none"])
def test_a_folder_for_temporary_files_that_cannot_be_written_is_one_sentence(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / folder))
    with pytest.raises(ConfigurationError, match="temporary files .* cannot be written .*set TMPDIR"):
        build_plan(tiny, tmp_path / "tiny.plan", FP32)


def test_a_full_disk_tells_what_is_free(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"\(No space left on device, \d+ MB are free\): less"),
        writing("the folder", tmp_path, "less"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_tensorrt_without_a_driver_is_refused_before_it_is_touched(tiny: Path, tmp_path: Path) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("there is a GPU here")
    with pytest.raises(BackendError, match="where its engine is to run, and there is no GPU in sight"):
        build_plan(tiny, tmp_path / "tiny.plan", BuildOptions("tensorrt", "fp32"))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_of_the_builder_names_signal_and_phase(small: Path, tmp_path: Path, number: signal.Signals) -> None:
    def crash(progress: BuildProgress) -> None:
        if progress.phase == "Building engine":
            kill_builder_of(psutil.Process(), number)

    with pytest.raises(BackendError, match=rf"process ended by {number.name} in '[A-Z].*'") as caught:
        build_plan(small, tmp_path / "small.plan", FP32, BuildContext(crash))
    assert ("not enough memory?" in str(caught.value)) is (number == signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_cancelling_ends_the_child_at_once_and_leaves_nothing(small: Path, tmp_path: Path) -> None:
    pids: list[int] = []

    def cancel(progress: BuildProgress) -> None:
        if progress.phase == "Building engine":
            pids.append(builder_of(psutil.Process()).pid)
            context.cancel()

    context = BuildContext(cancel)
    with pytest.raises(BackendError, match="was cancelled"):
        build_plan(small, tmp_path / "small.plan", FP32, context)
    assert len(pids) == 1
    assert not psutil.pid_exists(pids[0])
    assert list(tmp_path.iterdir()) == []


def test_cancelling_ends_an_export_at_once(tmp_path: Path) -> None:
    context, model, others = BuildContext(), open_model("untrained_full"), psutil.Process().children()
    threading.Timer(3.0, context.cancel).start()  # within PyTorch's trace
    with pytest.raises(BackendError, match="was cancelled"):
        GraphFiles(model, tmp_path, True, None).make("fp16", context)
    assert psutil.Process().children() == others


def test_a_build_that_takes_too_long_is_ended(small: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"took longer than 0 s.*allow it more time"):
        build_plan(small, tmp_path / "small.plan", FP32, BuildContext(timeout=0.3))
    assert list(tmp_path.iterdir()) == []


def test_the_child_ends_with_its_parent(small: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, psutil; from pathlib import Path\n"
        "from asymformer_ros.engine.build import build_plan\n"
        "from asymformer_ros.engine.context import BuildContext\n"
        "from asymformer_ros.engine.options import BuildOptions\n"
        "def die(progress):\n"
        "    if progress.phase == 'Building engine':\n"
        "        print(psutil.Process().children()[0].pid, flush=True)\n"
        "        os._exit(9)\n"
        "build_plan(Path(sys.argv[1]), Path(sys.argv[2]), BuildOptions('tensorrt_rtx', 'fp32'), BuildContext(die))\n"
    )
    program = [sys.executable, "-c", code, str(small), str(tmp_path / "small.plan")]
    answer = subprocess.run(program, cwd=ROOT, check=False, capture_output=True, text=True)
    assert answer.returncode == 9
    end = time.monotonic() + 10
    while psutil.pid_exists(int(answer.stdout)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not psutil.pid_exists(int(answer.stdout)) or psutil.Process(int(answer.stdout)).status() == "zombie"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("precision", "fp32_layers"), [("fp32", None), ("fp16", 0), ("mixed", 40)])
def test_the_small_network_is_built_in_every_precision(
    small: Path, tmp_path: Path, precision: str, fp32_layers: int | None
) -> None:
    model = small if fp32_layers is None else _typed(small, tmp_path / "typed.onnx", fp32_layers)
    result = build_plan(model, tmp_path / "small.plan", BuildOptions("tensorrt_rtx", precision))
    assert {name: (shape, kind) for name, shape, kind in result.inputs} == {
        "rgb": ((1, 256, 320, 3), "UINT8"),
        "depth": ((1, 256, 320, 2), "UINT8"),
    }
    assert {name: kind for name, _, kind in result.outputs} == {"labels": "UINT8", "confidence": "UINT8"}


def _typed(model: Path, path: Path, fp32_layers: int) -> Path:
    """The model in FP16, but for its first convolutions and matrix products."""
    graph = load(model)
    heavy = [node.name for node in graph.graph.node if node.op_type in ("Conv", "MatMul")]
    write_model(to_mixed(graph, heavy[:fp32_layers]), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_published_network_is_built(full: Path, tmp_path: Path, precision: str) -> None:
    model = full if precision == "fp32" else _typed(full, tmp_path / "typed.onnx", 0)
    result = build_plan(model, tmp_path / "full.plan", BuildOptions("tensorrt_rtx", precision))
    size = (tmp_path / "full.plan").stat().st_size
    assert size > 130e6 if precision == "fp32" else 60e6 < size < 100e6
    assert result.layers > 100
