"""The ONNX graphs that engines are built of, on the way down from FP16 to FP32."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

onnx = pytest.importorskip("onnx", reason="engines are built of ONNX graphs")
pytest.importorskip("torch", reason="the models of these tests are bundles")

from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.engine.source import engine_request

ROOT = Path(__file__).parents[1]
IN_GRAPH = SimpleNamespace(precision_in_graph=True)
BY_BUILDER = SimpleNamespace(precision_in_graph=False)


def halves(path: Path) -> int:
    """Number of FP16 weights in an ONNX file."""
    weights = onnx.load(str(path)).graph.initializer
    return sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in weights)


@pytest.mark.slow
def test_without_a_report_a_failing_fp16_is_followed_by_a_mixed_engine_of_surveyed_layers(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the survey runs the model")
    request = engine_request("untrained", BuildOptions(), None, tmp_path)
    assert request.precisions == ("fp16", "mixed", "fp32")
    assert request.options.pinned == ()
    fp16 = halves(request.source(IN_GRAPH, "fp16").onnx)
    assert fp16 > 100
    assert halves(request.source(IN_GRAPH, "mixed").onnx) <= fp16
    assert halves(request.source(IN_GRAPH, "fp32").onnx) == 0
    always = request.source(BY_BUILDER, "fp16").pinned
    assert set(always) < set(request.source(BY_BUILDER, "mixed").pinned)
    assert request.source(BY_BUILDER, "fp32").pinned == ()


@pytest.mark.slow
def test_a_robot_with_an_onnx_file_needs_neither_pytorch_nor_onnx_runtime(tmp_path: Path) -> None:
    from asymformer_ros.cli.main import main

    model = tmp_path / "model.onnx"
    assert main(["export", "untrained", str(model)]) == 0
    program = f"""
import sys
sys.modules["torch"] = sys.modules["onnxruntime"] = None
from pathlib import Path
from types import SimpleNamespace
from asymformer_ros.engine.golden import read_golden
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.engine.source import engine_model, engine_request
from asymformer_ros.models.onnx_file import load
import asymformer_ros.engine.runtime, asymformer_ros.engine.provide, asymformer_ros.serving
request = engine_request({str(model)!r}, BuildOptions(), None, Path({str(tmp_path)!r}))
request.source(SimpleNamespace(precision_in_graph=True), "fp16")
assert engine_model({str(model)!r}).card.input_size == (256, 320)
assert read_golden(load({str(model)!r})) is not None
print(request.precisions)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "('fp16', 'fp32')"
