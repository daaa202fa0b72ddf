"""PyTorch or ONNX Runtime: which of them serves a model, and what opens it there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from asymformer_ros.engine.driver import NoGpu, probe_gpu
from asymformer_ros.errors import BackendError, ConfigurationError, DependencyError
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.last_resort import LastResortBackend
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.models.catalogue import ModelFiles, model_files
from asymformer_ros.models.model import Model
from asymformer_ros.models.opening import open_model
from asymformer_ros.optional import installed

_log = logging.getLogger(__name__)

_DEFAULT = ServingOptions()

FORMS = {"torch": "bundle", "onnxruntime": "onnx"}
"""Which file of known weights a library reads."""


def open_backend(choice: str, name: str, device: str = "auto", options: ServingOptions = _DEFAULT) -> InferenceBackend:
    """Load a model into PyTorch or ONNX Runtime: the one that is asked for, or with "auto" the better one here.

    That is, of a model with both files: PyTorch on CUDA, else ONNX Runtime, else PyTorch on the CPU. options: of
    which label set, input size and precision count. Raises as `open_serving` does.
    """
    if choice not in (*FORMS, "auto"):
        raise ConfigurationError(f"backend is '{choice}': expected one of auto, {', '.join(FORMS)}")
    library = choose(choice, name, device)
    serve = server(library, device, options.precision)
    form = FORMS[library]
    return serve(open_model(name, label_set=options.label_set, form=form, input_size=options.input_size))


def server(library: str, device: str, precision: str = "fp16") -> Callable[[Model], InferenceBackend]:
    """What opens a model in a library. Says what to install where the library is missing, before a model is read."""
    if library == "onnxruntime":
        from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend.open
    from asymformer_ros.inference.torch import TorchBackend

    def serve(model: Model) -> InferenceBackend:
        backend = TorchBackend.open(model, device, precision)
        if backend.device == "cpu":
            return backend
        return LastResortBackend(backend, (lambda: TorchBackend.open(model, "cpu")) if device == "auto" else None)

    return serve


def choose(choice: str, name: str, device: str) -> str:
    """A key of FORMS: the library that is asked for, or with "auto" the better one here.

    Raises BackendError where that library cannot serve a model that has only the other file.
    """
    files = model_files(name)
    library = better(files, device) if choice == "auto" else choice
    if library == "torch" and not files.bundle:
        raise BackendError(
            f"backend is 'torch' but model '{name}' is an ONNX file: set backend to onnxruntime or auto, or give the "
            "bundle that it was exported from"
        )
    if library == "onnxruntime" and not files.onnx:
        raise BackendError(
            f"backend is 'onnxruntime' but model '{name}' is no .onnx file: "
            f"export it first with `asymformer export {name} {Path(name).stem}.onnx`"
        )
    if library == "onnxruntime" and device == "cuda":
        raise BackendError(
            "device is 'cuda' but the onnxruntime backend runs on the CPU: set device to auto, or give the bundle "
            "that the ONNX file was exported from to the torch backend"
        )
    return library


def better(files: ModelFiles, device: str) -> str:
    """The library that serves a model with these files best; why it is not PyTorch on CUDA is a warning in the log."""
    if not files.onnx:
        return "torch"
    if not files.bundle:
        return "onnxruntime"
    reason = "" if device == "cuda" else why_no_cuda(device)
    if not reason:
        return "torch"
    obstacle = _why_no_onnx_runtime()
    if obstacle and installed("torch"):
        _log.warning("%s: PyTorch runs on the CPU", obstacle)
        return "torch"
    _log.warning("%s: ONNX Runtime runs on the CPU", reason)
    return "onnxruntime"


def _why_no_onnx_runtime() -> str:
    missing = [name for name in ("onnx", "onnxruntime") if not installed(name)]
    if missing:
        return f"{' and '.join(missing)} is not installed"
    try:
        import asymformer_ros.onnx_graph.session  # noqa: F401  it is there, and may be built for another NumPy
    except DependencyError as error:
        return str(error)
    return ""


def why_no_cuda(device: str) -> str:
    """Why PyTorch on "auto" or "cpu" is not on CUDA, in a sentence's part; "" where it is.

    It is asked, and imported, only where the driver has a GPU.
    """
    if device == "cpu":
        return "device is 'cpu'"
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu):
        return gpu.reason
    try:
        from asymformer_ros.inference.torch import why_no_cuda as why_torch_has_none
    except DependencyError as error:
        return str(error)
    return why_torch_has_none()
