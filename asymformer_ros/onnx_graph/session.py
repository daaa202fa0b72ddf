"""Runs ONNX graphs on the CPU with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from asymformer_ros.errors import BackendError
from asymformer_ros.optional import importing
from asymformer_ros.system.limits import usable_cpus

with importing("onnxruntime", "the onnxruntime backend"):
    import onnxruntime
with importing("onnx", "the onnxruntime backend"):
    from onnx import ModelProto

VERSION: str = onnxruntime.__version__
"""ONNX Runtime's."""


class GraphSession:
    """A graph that is ready to run, on the cores that this process may use. Used by one thread at a time."""

    def __init__(self, model: ModelProto, *, optimized: bool = True) -> None:
        """optimized: False computes each node as the graph has it, and frees its inputs as early as it can.

        Raises BackendError where ONNX Runtime cannot load the graph.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cpus()
        options.log_severity_level = 3  # errors: they are raised, too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores alone
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except _ERRORS as error:
            raise _failed(error) from error

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs that are named, or, for None, all in the order of the graph. Raises BackendError."""
        try:
            return list(self._session.run(outputs, dict(feeds)))
        except _ERRORS as error:
            raise _failed(error) from error


_OWN = vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(kind for kind in _OWN if isinstance(kind, type) and issubclass(kind, Exception)),
)


def _failed(error: Exception) -> BackendError:
    return BackendError(f"ONNX Runtime failed: {str(error).splitlines()[0]}")
