"""Runs ONNX graphs on the CPU with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from asymformer_ros.errors import BackendError
from asymformer_ros.optional import importing
from asymformer_ros.system.limits import usable_cpus

with importing("onnxruntime", "the onnxruntime backend"):
    import onnxruntime

if TYPE_CHECKING:
    from onnx import ModelProto

VERSION: str = onnxruntime.__version__
"""ONNX Runtime's."""

_LEVEL = onnxruntime.GraphOptimizationLevel


class GraphSession:
    """A graph that is ready to run, on the cores that this process may use. Used by one thread at a time."""

    def __init__(self, model: ModelProto | Path, *, optimized: bool = True, keep_as: Path | None = None) -> None:
        """model: a Path is of a file that `keep_as` has written: it is run as it is, and onnx is not needed.

        optimized: False computes each node as the graph has it, and frees its inputs as early as it can. keep_as: file
        for the optimised graph; it is for this version of ONNX Runtime on this kind of processor alone.
        Raises BackendError where ONNX Runtime cannot load the graph, or write the file.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cpus()
        options.log_severity_level = 3  # errors: they are raised, too
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores alone
        if not optimized:
            options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        if not optimized or isinstance(model, Path):
            options.graph_optimization_level = _LEVEL.ORT_DISABLE_ALL
        if keep_as is not None:
            options.optimized_model_filepath = str(keep_as)
        given = str(model) if isinstance(model, Path) else model.SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise _failed(error) from error

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs that are named, or, for None, all in the order of the graph. Raises BackendError."""
        try:
            return list(self._session.run(outputs, dict(feeds)))
        except _ERRORS as error:
            raise _failed(error) from error

    @property
    def metadata(self) -> dict[str, str]:
        """Of the graph."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def inputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """ONNX Runtime's name of the type, and the shape, of each input by name."""
        return {value.name: (value.type, tuple(value.shape)) for value in self._session.get_inputs()}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all outputs, in the order of the graph."""
        return tuple(value.name for value in self._session.get_outputs())


_OWN = vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(kind for kind in _OWN if isinstance(kind, type) and issubclass(kind, Exception)),
)


def _failed(error: Exception) -> BackendError:
    return BackendError(f"ONNX Runtime failed: {str(error).splitlines()[0]}")
