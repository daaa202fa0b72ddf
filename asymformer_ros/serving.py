"""Which backend serves a model: an engine where there can be one, else and meanwhile PyTorch or ONNX Runtime."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from asymformer_ros.engine.driver import NoGpu, probe_gpu
from asymformer_ros.engine.options import PRECISIONS, BuildOptions
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.inference.backend import BACKENDS, InferenceBackend, open_backend
from asymformer_ros.inference.upgrading import Making, UpgradingBackend
from asymformer_ros.models.catalogue import model_files

if TYPE_CHECKING:
    from asymformer_ros.engine.build import Progress

SERVING_BACKENDS = (*BACKENDS, "tensorrt")
"""What can be asked for."""


@dataclass(frozen=True)
class ServingOptions:
    """How a model is to be served. Raises ConfigurationError where a value makes no sense.

    backend: one of SERVING_BACKENDS. device: of PyTorch. precision: one of PRECISIONS, that the engine is tried in
    first. precision_report: JSON of `asymformer precision`, "" for none. engine_cache: folder, "" for the default.
    batch: images that come together.
    """

    backend: str = "auto"
    device: str = "auto"
    precision: str = "fp16"
    precision_report: str = ""
    engine_cache: str = ""
    batch: int = 1

    def __post_init__(self) -> None:
        for name, allowed in (("backend", SERVING_BACKENDS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ConfigurationError(f"{name} is '{getattr(self, name)}': expected one of {', '.join(allowed)}")


@dataclass(frozen=True)
class Voices:
    """Where to tell things. info: what goes on. fallback: why something less than the best serves."""

    info: Callable[[str], None]
    fallback: Callable[[str], None]


def open_serving(model: str, options: ServingOptions, voices: Voices) -> InferenceBackend:
    """Open a model in the backend that is asked for.

    With "auto" on a machine that can run engines the answer serves at once, with PyTorch or ONNX Runtime, and goes over
    to the engine when that is built and verified. With "tensorrt" this waits for the engine.
    Raises BackendError where an explicit choice cannot run, CheckpointError where the model cannot be loaded.
    """
    if options.backend in ("torch", "onnxruntime"):
        return open_backend(options.backend, model, options.device, voices.fallback)
    obstacle = engine_obstacle()
    if options.backend == "tensorrt":
        if obstacle:
            raise BackendError(f"backend is 'tensorrt' but no engine can run here: {obstacle}; auto finds what can")
        return _make_engine(model, options, voices, Making())
    if obstacle:
        voices.fallback(f"no TensorRT engine: {obstacle}")
        return open_backend("auto", model, options.device, voices.fallback)
    try:
        fallback = open_backend("auto", model, options.device, voices.fallback)
    except BackendError as error:
        voices.fallback(f"nothing serves until the engine is there: {error}")
        return _make_engine(model, options, voices, Making())
    return UpgradingBackend(fallback, lambda making: _make_engine(model, options, voices, making), voices.fallback)


def engine_obstacle() -> str:
    """Why no engine can be built and run here, in a sentence's part; "" where one can."""
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu):
        return gpu.reason
    from asymformer_ros.engine.api import installed_builders

    missing = [name for name in ("pycuda", "onnx") if importlib.util.find_spec(name) is None]
    if not installed_builders():
        missing.insert(0, "tensorrt")
    return f"{', '.join(missing)} not installed (see docs/engines.md)" if missing else ""


def _make_engine(model: str, options: ServingOptions, voices: Voices, making: Making) -> InferenceBackend:
    """The verified engine of a model, from the cache or built now, ready to serve."""
    from asymformer_ros.engine.build import Watch
    from asymformer_ros.engine.cache import EngineCache
    from asymformer_ros.engine.golden import make_verifier
    from asymformer_ros.engine.provide import choose_builder, provide_engine
    from asymformer_ros.engine.runtime import EngineFile, open_engine
    from asymformer_ros.engine.source import engine_model, engine_request
    from asymformer_ros.onnx_graph.report import PrecisionReport

    report = PrecisionReport.load(Path(options.precision_report)) if options.precision_report else None
    library = choose_builder("auto", probe_gpu())
    model = model_files(model).readable
    making.tell(f"preparing the {options.precision} engine")
    described = engine_model(model, options.batch)
    with TemporaryDirectory(prefix="asymformer_engine_") as folder:
        build = BuildOptions(library.name, options.precision)
        request = engine_request(model, build, report, Path(folder), options.batch)
        request = replace(request, verifier=make_verifier(model, described, library, voices.info))
        watch = Watch(on_progress=lambda progress: making.tell(_told(progress)), cancelled=making.cancelled)
        cache = EngineCache(Path(options.engine_cache).expanduser() if options.engine_cache else None)
        engine = provide_engine(cache, request, watch, voices.info, library.name)
    served = engine.manifest.served_precision
    if served != options.precision:
        voices.fallback(f"the engine is {served}, not {options.precision}: {'; '.join(engine.manifest.notes)}")
    return open_engine(EngineFile(engine.plan, library, served), described, voices.info)


def _told(progress: Progress) -> str:
    return f"building: {progress.phase} {progress.done}/{progress.total}, {progress.seconds:.0f} s"
