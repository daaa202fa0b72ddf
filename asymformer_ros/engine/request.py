"""An engine that is wanted: of which model, by which builder, for which GPU, and how."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from asymformer_ros.engine.api import TensorRt, installed_builders, load_library
from asymformer_ros.engine.choices import PRECISIONS
from asymformer_ros.engine.driver import GpuInfo, NoGpu
from asymformer_ros.engine.golden import GoldenCheck
from asymformer_ros.engine.manifest import EngineIdentity
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError, ConfigurationError, DependencyError
from asymformer_ros.models.model import Model
from asymformer_ros.onnx_graph.report import PrecisionReport
from asymformer_ros.optional import installed

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineRequest:
    """An engine that is wanted. Raises ConfigurationError where model, precision and report do not belong together.

    precision: to try first. report: the layers that "mixed" keeps in FP32. workspace_mib, optimization_level: see
    BuildOptions.
    check: None builds without verifying; such an engine is built again as soon as it can be verified. only: whether
    no other precision is tried.
    """

    model: Model
    library: TensorRt
    gpu: GpuInfo | None
    precision: str = "fp16"
    report: PrecisionReport | None = None
    workspace_mib: int | None = None
    optimization_level: int | None = None
    check: GoldenCheck | None = None
    only: bool = False

    def __post_init__(self) -> None:
        model, report = self.model, self.report
        BuildOptions(  # refuses what makes no sense
            self.library.name, self.precision, self.workspace_mib, optimization_level=self.optimization_level
        )
        if model.precision != "fp32":
            raise ConfigurationError(
                f"{model.path} is in {model.precision} precision already: give the bundle, or its export in fp32, and "
                "the engine gets its precision from `--precision` and `--report`"
            )
        if report is not None:
            report.check_model(model.model_sha256)
        if self.precision == "mixed" and report is None:
            raise ConfigurationError(
                "mixed precision needs a report of the layers that stay in FP32: make one with "
                "`asymformer precision MODEL -o precision.json` and give it with `--report precision.json`"
            )

    @property
    def precisions(self) -> tuple[str, ...]:
        """From the requested one down to FP32; mixed only with a report, or where one can be made by a survey."""
        has_report = self.report is not None or _can_be_surveyed(self.model)
        order = [precision for precision in PRECISIONS if has_report or precision != "mixed"]
        return (self.precision,) if self.only else tuple(order[order.index(self.precision) :])

    @property
    def pinned(self) -> tuple[str, ...]:
        """The report's layers, on which the engine depends, even while it is in FP16."""
        return self.report.fp32_layers if self.report else ()

    @property
    def identity(self) -> EngineIdentity:
        """What the engine depends on: its key in the cache."""
        return EngineIdentity(
            model_name=self.model.name,
            model_sha256=self.model.sha256,
            precision=self.precision,
            shapes=self.model.shapes,
            builder=self.library.name,
            builder_version=self.library.version,
            gpu=self.gpu.name if self.gpu else "",
            compute_capability=self.gpu.capability if self.gpu else "",
            multiprocessors=self.gpu.multiprocessors if self.gpu else 0,
            memory_gib=round(self.gpu.memory / 2**30) if self.gpu else 0,
            pinned=self.pinned,
        )


def _can_be_surveyed(model: Model) -> bool:
    """Whether `survey` can say which layers stay in FP32 where the FP16 engine fails."""
    return (model.bundle is not None or model.batch == 1) and installed("onnxruntime")


def choose_builder(choice: str, gpu: GpuInfo | NoGpu) -> TensorRt:
    """Load the builder that is asked for, or with "auto" the first that is installed, loads and can build here.

    Raises BackendError, which says what is missing, where there is none.
    """
    if choice != "auto":
        return _load_builder(choice, gpu)
    reasons = []
    for name in installed_builders():
        try:
            return _load_builder(name, gpu)
        except (BackendError, DependencyError) as error:
            _log.info("not with %s: %s", name, error)
            reasons.append(str(error))
    found = "; ".join(reasons) or f"no TensorRT is installed, {gpu}"
    raise BackendError(f"no builder can build engines here ({found}): serve with torch or onnxruntime")


def _load_builder(name: str, gpu: GpuInfo | NoGpu) -> TensorRt:
    if name == "tensorrt" and isinstance(gpu, NoGpu):
        raise BackendError(f"TensorRT builds only where its engine is to run, and there is {gpu.reason}")
    library = load_library(name)
    if isinstance(gpu, GpuInfo) and not library.supports(gpu):
        raise BackendError(
            f"{library.name} {library.version} does not support {gpu.name} (compute capability {gpu.capability}): "
            "use the builder tensorrt"
        )
    return library
