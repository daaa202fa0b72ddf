"""ONNX files to build engines of, and the process that builds one."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
from onnx import TensorProto, helper, numpy_helper


def write_tiny(path: Path, *, half: bool = False, channels: int = 8) -> Path:
    """One convolution and a ReLU, (1, 3, 32, 32) to (1, channels, 32, 32), in FP32 or FP16."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weight = np.ones((channels, 3, 3, 3), np.float16 if half else np.float32) / 27
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["y"], name="/conv/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"], name="/relu/Relu"),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, (1, 3, 32, 32))]
    outputs = [helper.make_tensor_value_info("z", kind, (1, channels, 32, 32))]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def kill_builder_of(parent: psutil.Process, number: signal.Signals = signal.SIGKILL) -> None:
    """Kill it, unless it was killed: what it had told before is heard after that, too."""
    with suppress(ValueError, psutil.ZombieProcess, psutil.NoSuchProcess):
        builder_of(parent).send_signal(number)


def builder_of(parent: psutil.Process) -> psutil.Process:
    """The process that builds an engine for another; that may have children of other kinds, too."""
    (child,) = [process for process in parent.children() if "build_child" in " ".join(process.cmdline())]
    return child
