"""The parts of `scripts/gpu_check`, each run as a process of its own: `python gpu_parts.py PART MODEL FOLDER ...`.

The last line that a part prints is its answer as JSON: a result, or {"reason": why it cannot run}.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.engine.golden import COUNT, golden_frames
from asymformer_ros.errors import AsymformerError

REPORT = "precision.json"
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


def answers(infer: Infer, size: tuple[int, int]) -> np.ndarray:
    """Labels (COUNT, h, w) of the golden frames."""
    return np.stack([infer(rgb, depth) for rgb, depth in golden_frames(size)])


def finish(infer: Infer, size: tuple[int, int], folder: Path, name: str) -> dict[str, Any]:
    """Measure, and compare with what eager FP32, the first part, has left in the folder."""
    labels, kept = answers(infer, size), folder / "fp32.npy"
    if name == "torch_fp32":
        np.save(kept, labels)
    agreement = float(np.mean(labels == np.load(kept))) if kept.is_file() else None
    return {**measure(infer, size), "agreement": agreement, "used_memory_mib": used_memory()}


def used_memory() -> float | None:
    """MiB of the first GPU that all processes together use; None where nobody tells."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return None


def torch_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """The network in PyTorch: eager in FP32 or FP16, compiled, or in a CUDA graph."""
    import torch

    from asymformer_ros.inference.torch import TorchBackend
    from asymformer_ros.models.opening import open_model

    if not torch.cuda.is_available():
        return {"reason": f"PyTorch {torch.__version__} finds no GPU that it can use"}
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    dtype = torch.float32 if name == "torch_fp32" else torch.float16
    backend = TorchBackend(open_model(model, form="bundle"), torch.device("cuda"), dtype)
    if name == "torch_compile":
        backend._network.forward_stride4 = torch.compile(backend._network.forward_stride4)
    if name == "torch_graph":
        backend._network.forward_stride4 = graphed(backend)
    if not backend.is_finite():
        return {"reason": f"{backend.name}: the answer is not finite"}
    return finish(lambda rgb, depth: backend.infer(rgb, depth).labels, backend.card.input_size, folder, name)


def graphed(backend: Any) -> Callable[[Any, Any], Any]:
    """The network as a CUDA graph: inputs are copied to where it has them, the output is where it leaves it."""
    import torch

    network, (height, width) = backend._network.forward_stride4, backend.card.input_size
    places = [torch.zeros(1, channels, height, width, device="cuda", dtype=torch.float16) for channels in (3, 1)]
    with torch.inference_mode():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                network(*places)
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = network(*places)

    def run(rgb: Any, depth: Any) -> Any:
        places[0].copy_(rgb)
        places[1].copy_(depth)
        graph.replay()
        return logits

    return run


def precision_part(_name: str, model: str, folder: Path) -> dict[str, Any]:
    """Which layers stay in FP32, for the engine in mixed precision."""
    from asymformer_ros.engine.frames import SIMULATED, sample_frames
    from asymformer_ros.engine.source import analyse_model
    from asymformer_ros.models.opening import open_model

    report = analyse_model(open_model(model), sample_frames(None, 2), SIMULATED)
    report.save(folder / REPORT)
    return {"layers": len(report.layers), "fp32_layers": len(report.fp32_layers)}


def engine_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """Build an engine of exactly one precision, measure it whether it may serve or not, and say whether it may."""
    from asymformer_ros.engine.runtime import EngineFile
    from asymformer_ros.inference.tensorrt import open_engine
    from asymformer_ros.onnx_graph.report import PrecisionReport

    precision = name.rpartition("_")[2]
    if precision == "mixed" and not (folder / REPORT).is_file():
        return {"reason": "there is no precision report: that part has failed"}
    report = PrecisionReport.load(folder / REPORT) if precision == "mixed" else None
    opened, engine = built(model, folder / name, precision, report)
    backend = open_engine(EngineFile(engine.plan, chosen(), precision), opened)
    result = finish(lambda rgb, depth: backend.infer(rgb, depth).labels, backend.card.input_size, folder, name)
    backend.close()
    return {**result, "serves_as": backend.name, **told(opened, engine.plan, engine.manifest)}


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


PARTS = {
    "torch_fp32": torch_part,
    "torch_fp16": torch_part,
    "torch_compile": torch_part,
    "torch_graph": torch_part,
    "precision": precision_part,
    "tensorrt_fp16": engine_part,
    "tensorrt_mixed": engine_part,
}
"""The speeds; gpu_questions has the other parts."""


class Said(logging.Handler):
    """Keeps and prints what the package logs."""

    def emit(self, record: logging.LogRecord) -> None:
        SAID.append(record.getMessage())
        print(record.getMessage(), flush=True)


def main() -> int:
    logging.getLogger("asymformer_ros").addHandler(Said())
    logging.getLogger("asymformer_ros").setLevel(logging.INFO)
    from gpu_questions import QUESTIONS  # which uses this module

    name, model, folder, *others = sys.argv[1:]
    OTHERS.extend(others)
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu):
        answer: dict[str, Any] = {"reason": gpu.reason}
    else:
        try:
            answer = {**PARTS, **QUESTIONS}[name](name, model, Path(folder))
        except (AsymformerError, ImportError, RuntimeError) as error:
            answer = {"reason": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    import gpu_parts  # not this module again, under another name

    sys.exit(gpu_parts.main())
