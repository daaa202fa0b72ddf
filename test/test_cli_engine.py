"""`asymformer build-engine`, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asymformer_ros.cli.build_engine import Display, describe
from asymformer_ros.cli.main import main
from asymformer_ros.engine.cache import Engine
from asymformer_ros.engine.context import BuildProgress
from asymformer_ros.engine.driver import GpuInfo, probe_gpu
from asymformer_ros.engine.manifest import EngineIdentity, EngineManifest
from asymformer_ros.engine.verify import Verification

ROOT = Path(__file__).resolve().parents[1]
needs_no_gpu = pytest.mark.skipif(isinstance(probe_gpu(), GpuInfo), reason="there is a GPU here")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network at a small size, as `asymformer export` writes it."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.export import export_model, write_model
    from asymformer_ros.models.labels import label_set
    from asymformer_ros.network import SMALL

    path = tmp_path_factory.mktemp("model") / "small.onnx"
    bundle = ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=(64, 96))
    write_model(export_model(bundle), path)
    return path


def manifests(cache: Path) -> list[EngineManifest]:
    return [EngineManifest.from_json(path.read_text()) for path in sorted(cache.glob("*/manifest.json"))]


def _report(path: Path, model: Path) -> Path:
    """A precision report that keeps one convolution in FP32."""
    from asymformer_ros.models.onnx_file import load
    from asymformer_ros.models.opening import open_model
    from asymformer_ros.onnx_graph.report import Layer, PrecisionReport, Range

    layers = {
        node.name: Layer(node.op_type, Range(1, 1, 0, 0, 0), "values reach 40000" if index == 30 else "")
        for index, node in enumerate(load(model).graph.node)
    }
    PrecisionReport(open_model(str(model)).model_sha256, "a test", 1, layers, {}).save(path)
    return path


@needs_no_gpu
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_an_engine_is_built_once(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    arguments = ["build-engine", str(model), "--precision", precision, "--cache", str(tmp_path)]
    assert main(arguments) == 0
    first = capsys.readouterr()
    assert f"small: {precision}, built in" in first.out
    assert "not verified yet" in first.out
    assert f"building small in {precision} with tensorrt_rtx" in first.err
    assert re.search(r"^ +\d+\.\d s  (Starting|Preparing the graph|Parsing) ", first.err, re.MULTILINE)
    assert main(arguments) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err == ""


@needs_no_gpu
def test_mixed_precision_follows_the_report(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _report(tmp_path / "precision.json", model)
    arguments = ["build-engine", str(model), "--precision", "mixed", "--report", str(report), "--cache", str(tmp_path)]
    assert main(arguments) == 0
    assert "small: mixed, built in" in capsys.readouterr().out
    (manifest,) = manifests(tmp_path)
    assert len(manifest.identity.pinned) == 1


def test_mixed_precision_without_a_report_says_how_to_make_one(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build-engine", str(model), "--precision", "mixed", "--cache", str(tmp_path)]) == 1
    assert "asymformer precision MODEL -o precision.json" in capsys.readouterr().err


def test_a_report_of_another_model_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _report(tmp_path / "precision.json", model)
    data = json.loads(report.read_text())
    report.write_text(json.dumps({**data, "model": "f" * 64}))
    assert main(["build-engine", str(model), "--report", str(report), "--cache", str(tmp_path)]) == 1
    assert "the precision report is of model ffffffffffff" in capsys.readouterr().err


@needs_no_gpu
def test_a_cache_that_cannot_be_written_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["build-engine", str(model), "--cache", str(tmp_path / "file" / "engines")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be written" in error
    assert "`--cache`" in error


@needs_no_gpu
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--builder", "tensorrt"], "TensorRT builds only where its engine is to run, and there is no NVIDIA driver"),
        (["--workspace", "0"], "workspace is 0 MiB"),
        (["--timeout", "0.1"], "took longer than 0 s"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["build-engine", str(model), "--cache", str(tmp_path), *options]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["none.onnx", "none.safetensors"])
def test_a_missing_model_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    assert main(["build-engine", str(tmp_path / name), "--cache", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "does not exist: `asymformer" in said
    assert "asymformer weights download nyuv2" in said


@needs_no_gpu
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_command_and_its_builder_and_leaves_nothing(
    model: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    program = [sys.executable, "-m", "asymformer_ros.cli.main", "build-engine", str(model), "--cache", str(tmp_path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, cwd=ROOT, env=environment, **pipes) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        next(line for line in lines if re.search(r"\d s  \w", line))
        (builder,) = psutil.Process(process.pid).children()
        process.send_signal(number)
        assert process.wait(10) == code
        assert "Traceback" not in process.stderr.read()
    end = time.monotonic() + 10
    while builder.is_running() and builder.status() != "zombie" and time.monotonic() < end:
        time.sleep(0.05)
    assert not builder.is_running() or builder.status() == "zombie"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]


@needs_no_gpu
def test_engines_of_one_and_of_several_cameras_stand_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    for batch in ("1", "2", "1"):
        arguments = ["build-engine", "untrained", "--precision", "fp32", "--batch", batch, "--cache", str(tmp_path)]
        assert main(arguments) == 0
    shapes = [manifest.identity.shapes["rgb"] for manifest in manifests(tmp_path)]
    assert shapes == [(1, 256, 320, 3), (2, 256, 320, 3)]
    assert capsys.readouterr().err.count("building untrained in fp32") == 2


def test_without_onnx_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None; from asymformer_ros.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    program = [sys.executable, "-c", code, "build-engine", "untrained", "--cache", str(tmp_path)]
    answer = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "pip install onnx" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_verified_engine_is_described() -> None:
    identity = EngineIdentity("nyu", "a" * 64, "fp16", {}, "tensorrt", "10.3.0", "Orin", "8.7")
    verification = Verification(4, 0.9991, True, 0)
    manifest = EngineManifest(identity, "mixed", 70_000_000, "b" * 64, "", 312.0, {"fp16": 9}, verification, ("why",))
    assert describe(Engine(Path("engine.plan"), manifest)).splitlines() == [
        "engine.plan (70.0 MB)",
        "nyu: mixed, built in 312.0 s by tensorrt 10.3.0, Orin (compute capability 8.7)",
        "layers: 9 fp16",
        "verified: 99.91% of the labels of 4 frames are those of FP32",
        "note: why",
    ]


def test_progress_on_no_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    for second in range(25):
        display.show(BuildProgress("Timing", second, 30, float(second)))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["   0.0 s  Timing 0/30", "  10.0 s  Timing 10/30", "  20.0 s  Timing 20/30"]
