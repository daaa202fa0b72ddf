"""Runs ONNX graphs on the CPU with OpenVINO: in BF16, where the processor has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from asymformer_ros.errors import BackendError
from asymformer_ros.optional import importing
from asymformer_ros.system.limits import usable_cpus

with importing("openvino", "BF16 on a CPU"):
    import openvino

VERSION: str = openvino.__version__
"""OpenVINO's."""


class Bf16Session:
    """A plain graph of class scores, in BF16 but for what OpenVINO keeps in FP32. Used by one thread at a time."""

    def __init__(self, model: ModelProto) -> None:
        """Raises BackendError where OpenVINO cannot compile the graph."""
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": usable_cpus(),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            core = openvino.Core()
            graph = core.read_model(model.SerializeToString(), b"")
            self._compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise _failed(error) from error

    def run(self, outputs: None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs in the order of the graph. Raises BackendError."""
        try:
            results = self._compiled(dict(feeds))
        except RuntimeError as error:
            raise _failed(error) from error
        return [np.array(results[output]) for output in self._compiled.outputs]


def _failed(error: RuntimeError) -> BackendError:
    return BackendError(f"OpenVINO failed: {str(error).splitlines()[0]}")
