"""The ONNX graphs that engines are built of, on the way down from FP16 to FP32. They are made in a child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="engines are built of ONNX graphs")
pytest.importorskip("torch", reason="the models of these tests are bundles")

from asymformer_ros.engine.build import GraphFiles
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.models.opening import open_model

ROOT = Path(__file__).parents[1]


def halves(path: Path) -> int:
    """Number of FP16 weights in an ONNX file."""
    weights = onnx.load(str(path)).graph.initializer
    return sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in weights)


@pytest.mark.slow
def test_a_graph_is_typed_for_builders_that_keep_its_precision_and_else_has_names_of_fp32_nodes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the survey runs the model")
    model, context = open_model("untrained"), BuildContext()
    typed = GraphFiles(model, tmp_path, True, None)
    fp16 = halves(typed.make("fp16", context)[0])
    assert fp16 > 100
    assert halves(typed.make("mixed", context)[0]) <= fp16
    assert halves(typed.make("fp32", context)[0]) == 0
    plain = GraphFiles(model, tmp_path, False, None)
    path, pinned = plain.make("fp16", context)
    assert (halves(path), pinned) == (0, ())
    pinned = plain.make("mixed", context)[1]
    kinds = {node.op_type for node in onnx.load(str(path)).graph.node if node.name in pinned}
    assert kinds
    assert not kinds & {"Cast", "Concat", "LayerNormalization", "Reshape", "Split", "Transpose"}
    assert plain.make("fp32", context)[1] == ()


@pytest.mark.slow
def test_a_robot_with_an_onnx_file_needs_neither_pytorch_nor_onnx_runtime(tmp_path: Path) -> None:
    from asymformer_ros.cli.main import main

    path = tmp_path / "model.onnx"
    assert main(["export", "untrained", str(path)]) == 0
    program = f"""
import sys
sys.modules["torch"] = sys.modules["onnxruntime"] = None
from types import SimpleNamespace
from asymformer_ros.engine.golden import read_golden
from asymformer_ros.engine.request import EngineRequest
from asymformer_ros.engine.source import plain_graph, typed_graph
from asymformer_ros.models.opening import open_model
import asymformer_ros.inference.selection, asymformer_ros.inference.tensorrt
model = open_model({str(path)!r})
assert model.card.input_size == (256, 320)
assert read_golden(model.proto) is not None
typed_graph(plain_graph(model), "fp16", ())
print(EngineRequest(model, SimpleNamespace(name="tensorrt"), None).precisions)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "('fp16', 'fp32')"
