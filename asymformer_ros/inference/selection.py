"""Which backend serves a model: an engine where there can be one, else and meanwhile PyTorch or ONNX Runtime.

What makes and runs engines is imported where there is a GPU: a node on a CPU starts without it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.engine.api import TensorRt, installed_builders
from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.errors import AsymformerError, BackendError, DependencyError
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.choices import CPU_PRECISIONS
from asymformer_ros.inference.cpu import open_onnxruntime, open_without_engine
from asymformer_ros.inference.last_resort import LastResortBackend
from asymformer_ros.inference.libraries import FORMS, choose, open_backend, server
from asymformer_ros.inference.lower_precision import open_in_precision, open_on_cpu
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.upgrading import UpgradingBackend
from asymformer_ros.models.catalogue import model_files
from asymformer_ros.models.model import Model
from asymformer_ros.models.opening import open_model
from asymformer_ros.optional import installed

if TYPE_CHECKING:
    from asymformer_ros.engine.golden import GoldenCheck

_log = logging.getLogger(__name__)

_DEFAULT = ServingOptions()


def open_serving(
    name: str, options: ServingOptions = _DEFAULT, context: BuildContext | None = None
) -> InferenceBackend:
    """Open a model, by name or path, in the backend that is asked for.

    With "auto" on a machine that can run engines the answer serves at once, with PyTorch or ONNX Runtime, and goes over
    to the engine when that is built and verified. With "tensorrt", and with `wait`, this waits for the engine;
    `context` tells how far it is, and cancels it from another thread. Why something less than the best serves is a
    warning in the log.
    Raises BackendError where an explicit choice cannot run or the build is cancelled, CheckpointError where the model
    cannot be loaded, ConfigurationError where its label set does not fit.
    """
    context = context or BuildContext()
    if options.input_size and installed("torch"):
        name = model_files(name).bundle or name  # an ONNX file has one size
    if options.precision in CPU_PRECISIONS:
        return open_in_precision(name, options, context)
    if options.backend == "onnxruntime":
        return open_onnxruntime(name, options, context)
    if options.backend == "torch":
        return open_backend(options.backend, name, options.device, options)
    gpu = probe_gpu()
    obstacle = engine_obstacle(gpu)
    if options.backend == "tensorrt":
        if obstacle:
            raise BackendError(f"backend is 'tensorrt' but no engine can run here: {obstacle}; auto finds what can")
        return _open_only_engine(name, options, gpu, context)
    if obstacle:
        _log.warning("no TensorRT engine: %s", obstacle)
        return open_on_cpu(name, options, context)
    return (_wait_for_engine if options.wait else _open_upgrading)(name, options, gpu, context)


def engine_obstacle(gpu: GpuInfo | NoGpu) -> str:
    """Why no engine can be built and run here, in a sentence's part; "" where one can."""
    if isinstance(gpu, NoGpu):
        return gpu.reason
    missing = [name for name in ("pycuda", "onnx") if not installed(name)]
    if not installed_builders():
        missing.insert(0, "tensorrt")
    return f"{', '.join(missing)} not installed (see docs/engines.md)" if missing else ""


def golden_check(model: Model, library: TensorRt) -> GoldenCheck:
    """How engines of a model are compared with FP32, on the GPU."""
    from asymformer_ros.engine.golden import GoldenCheck

    return GoldenCheck(
        model,
        lambda plan: _load(plan, library, "engine", model),
        lambda: server("torch" if model.bundle else "onnxruntime", "cpu")(model),
    )


def _open_upgrading(
    name: str, options: ServingOptions, gpu: GpuInfo | NoGpu, context: BuildContext
) -> InferenceBackend:
    """One model, opened once, for both: PyTorch or ONNX Runtime serves it until the engine does."""
    try:
        library = choose("auto", name, options.device)
        serve = server(library, options.device, options.precision)
        model = _open_model(name, options, FORMS[library])
        _start_runtime(gpu)
        return UpgradingBackend(lambda: serve(model), lambda context: _open_engine(model, options, gpu, context))
    except (BackendError, DependencyError) as error:
        _log.warning("nothing serves until the engine is there: %s", error)
        return _open_only_engine(name, options, gpu, context)


def _start_runtime(gpu: GpuInfo | NoGpu) -> None:
    """Before the first frame: while TensorRT's runtime is made, no other Python thread runs."""
    from asymformer_ros.engine.request import choose_builder
    from asymformer_ros.engine.runtime import shared_runtime

    try:
        if isinstance(gpu, GpuInfo):
            shared_runtime(choose_builder("auto", gpu))
    except (BackendError, DependencyError) as error:
        _log.info("TensorRT's runtime cannot be made: %s", error)  # the engine's thread meets it again, and warns


def _wait_for_engine(
    name: str, options: ServingOptions, gpu: GpuInfo | NoGpu, context: BuildContext
) -> InferenceBackend:
    try:
        return _open_only_engine(name, options, gpu, context)
    except AsymformerError as error:
        _log.warning("no TensorRT engine: %s", error)
        return open_without_engine(name, options, context)


def _open_only_engine(
    name: str, options: ServingOptions, gpu: GpuInfo | NoGpu, context: BuildContext
) -> InferenceBackend:
    return LastResortBackend(_open_engine(_open_model(name, options), options, gpu, context), None)


def _open_engine(
    model: Model, options: ServingOptions, gpu: GpuInfo | NoGpu, context: BuildContext
) -> InferenceBackend:
    """The verified engine of a model, from the cache or built now, ready to serve."""
    from asymformer_ros.engine.provide import provide_engine
    from asymformer_ros.engine.request import EngineRequest, choose_builder
    from asymformer_ros.onnx_graph.report import PrecisionReport

    library, found = choose_builder("auto", gpu), gpu if isinstance(gpu, GpuInfo) else None
    context.report(f"preparing the {options.engine_precision} engine")
    request = EngineRequest(
        model=model,
        library=library,
        gpu=found,
        precision=options.engine_precision,
        report=PrecisionReport.load(Path(options.precision_report)) if options.precision_report else None,
        workspace_mib=options.workspace_mib or None,
        check=golden_check(model, library) if found else None,
    )
    cache = EngineCache(options.engine_cache)
    engine = provide_engine(cache, request, context)
    served = engine.manifest.served_precision
    if served != options.engine_precision:
        _log.warning("the engine is %s, not %s: %s", served, options.engine_precision, "; ".join(engine.manifest.notes))
    context.check()
    return _load(engine.plan, library, served, model)


def _open_model(name: str, options: ServingOptions, form: str = "") -> Model:
    return open_model(name, batch=options.batch, label_set=options.label_set, form=form, input_size=options.input_size)


def _load(plan: Path, library: TensorRt, precision: str, model: Model) -> InferenceBackend:
    from asymformer_ros.engine.runtime import EngineFile
    from asymformer_ros.inference.tensorrt import open_engine

    return open_engine(EngineFile(plan, library, precision), model)
