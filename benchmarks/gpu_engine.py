"""What all parts of `scripts/gpu_check` measure with, and how they build an engine."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from asymformer_ros.engine.driver import GpuInfo, probe_gpu
from asymformer_ros.engine.golden import COUNT, golden_frames

SAID: list[str] = []
OTHERS: list[str] = []
"""Further files that were named."""
WARM_UP, RUNS, SECONDS = 30, 500, 10.0  # at most so many timed frames, and so much time for them

Infer = Callable[[Any, Any], Any]
"""rgb (h, w, 3) uint8 and depth (h, w) float32 to labels (h, w), all in NumPy: what is timed, from end to end."""


def measure(infer: Infer, size: tuple[int, int]) -> dict[str, Any]:
    """Latency in ms and frames per second at batch 1. A label map in NumPy is there only after the GPU is done."""
    frames = golden_frames(size)
    for index in range(WARM_UP):
        infer(*frames[index % COUNT])
    times: list[float] = []
    begin = perf_counter()
    while len(times) < RUNS and perf_counter() - begin < SECONDS:
        start = perf_counter()
        infer(*frames[len(times) % COUNT])
        times.append(perf_counter() - start)
    p50, p95, p99 = (float(value) for value in np.percentile(np.array(times) * 1e3, (50, 95, 99)))
    return {"runs": len(times), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "fps": len(times) / sum(times)}


def used_memory() -> float | None:
    """MiB of the first GPU that all processes together use; None where nobody tells."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return None


def chosen() -> Any:
    """The library that builds here."""
    from asymformer_ros.engine.request import choose_builder

    return choose_builder("auto", this_gpu())


def this_gpu() -> GpuInfo:
    """The GPU, without which no part is begun."""
    gpu = probe_gpu()
    assert isinstance(gpu, GpuInfo)
    return gpu


def built(model: str, folder: Path, precision: str = "fp16", report: Any = None) -> tuple[Any, Any]:
    """The model and its engine, which is in the folder from then on. However long it takes: gpu_check has the limit."""
    from asymformer_ros.engine.cache import EngineCache
    from asymformer_ros.engine.context import BuildContext
    from asymformer_ros.engine.provide import provide_engine
    from asymformer_ros.engine.request import EngineRequest
    from asymformer_ros.models.opening import open_model

    opened = open_model(model)
    request = EngineRequest(opened, chosen(), this_gpu(), precision, report, only=True)
    return opened, provide_engine(EngineCache(folder), request, BuildContext(timeout=float("inf")))


def told(model: Any, plan: Path, manifest: Any) -> dict[str, Any]:
    """What is known of an engine, and whether it may serve."""
    from asymformer_ros.engine.context import BuildContext
    from asymformer_ros.inference.selection import golden_check

    verification = golden_check(model, chosen()).verify(plan, BuildContext())
    return {
        "build_seconds": manifest.build_seconds,
        "plan_mb": manifest.plan_bytes / 1e6,
        "layers": manifest.precisions,
        "verification": verification.to_json(),
        "refused": verification.problem,
        "notes": [*manifest.notes, *SAID],
    }


def measured(model: Any, plan: Path) -> dict[str, Any]:
    """Latency through the backend, and agreement with the golden answers."""
    from asymformer_ros.engine.context import BuildContext
    from asymformer_ros.engine.runtime import EngineFile
    from asymformer_ros.inference.selection import golden_check
    from asymformer_ros.inference.tensorrt import open_engine

    library = chosen()
    backend = open_engine(EngineFile(plan, library, "engine"), model)
    times = measure(lambda rgb, depth: backend.infer(rgb, depth).labels, backend.card.input_size)
    memory = used_memory()
    backend.close()
    agreement = golden_check(model, library).verify(plan, BuildContext()).agreement
    return {**times, "agreement": agreement, "used_memory_mib": memory}


class Logged:
    """A Listener that keeps complaints."""

    def phase(self, name: str, steps: int) -> None: ...

    def step(self, name: str, done: int) -> bool:
        return True

    def finish(self, name: str) -> None: ...

    def log(self, severity: str, message: str) -> None:
        if severity in ("INTERNAL_ERROR", "ERROR", "WARNING"):
            SAID.append(f"{severity}: {message.strip()}")


class Said(logging.Handler):
    """Keeps and prints what the package logs."""

    def emit(self, record: logging.LogRecord) -> None:
        SAID.append(record.getMessage())
        print(record.getMessage(), flush=True)
