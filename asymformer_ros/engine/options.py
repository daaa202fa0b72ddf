"""What is asked of an engine build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asymformer_ros.engine.choices import BUILDERS, OPTIMIZATION_LEVELS, PRECISIONS
from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.errors import ConfigurationError


@dataclass(frozen=True)
class BuildOptions:
    """How to build one engine. Raises ConfigurationError where a value makes no sense.

    workspace_mib: scratch memory that the engine may use, in MiB; None leaves it to the builder. pinned: names of ONNX
    nodes that stay in FP32, for builders that choose the precision themselves. timing_cache: file of kernel timings to
    read and renew, or None. gpu: that the engine is for; None where there is none. optimization_level: how long the
    builder looks for the fastest kernels, one of OPTIMIZATION_LEVELS; None leaves it to the builder.
    """

    builder: str = "tensorrt"
    precision: str = "fp16"
    workspace_mib: int | None = None
    pinned: tuple[str, ...] = ()
    timing_cache: Path | None = None
    gpu: GpuInfo | None = None
    optimization_level: int | None = None

    def __post_init__(self) -> None:
        if self.builder not in BUILDERS:
            raise ConfigurationError(f"builder is '{self.builder}': expected one of {', '.join(BUILDERS)}")
        if self.precision not in PRECISIONS:
            raise ConfigurationError(f"precision is '{self.precision}': expected one of {', '.join(PRECISIONS)}")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise ConfigurationError(f"workspace is {self.workspace_mib} MiB: expected at least 1")
        if self.optimization_level is not None and self.optimization_level not in OPTIMIZATION_LEVELS:
            raise ConfigurationError(
                f"optimization level is {self.optimization_level}: expected {OPTIMIZATION_LEVELS[0]} to "
                f"{OPTIMIZATION_LEVELS[-1]}"
            )

    def to_json(self) -> dict[str, object]:
        """JSON-ready dictionary, for `from_json`."""
        return {
            "builder": self.builder,
            "precision": self.precision,
            "workspace_mib": self.workspace_mib,
            "pinned": list(self.pinned),
            "timing_cache": str(self.timing_cache) if self.timing_cache else None,
            "gpu": asdict(self.gpu) if self.gpu else None,
            "optimization_level": self.optimization_level,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> BuildOptions:
        """Inverse of `to_json`."""
        cache, gpu = data["timing_cache"], data["gpu"]
        return BuildOptions(
            builder=data["builder"],
            precision=data["precision"],
            workspace_mib=data["workspace_mib"],
            pinned=tuple(data["pinned"]),
            timing_cache=Path(cache) if cache else None,
            gpu=GpuInfo.from_json(gpu) if gpu else None,
            optimization_level=data["optimization_level"],
        )
