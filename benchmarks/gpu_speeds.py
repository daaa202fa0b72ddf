"""The speeds that `scripts/gpu_check` compares: the network in PyTorch, and as an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gpu_engine import SAID, Infer, built, chosen, measure, told, used_memory

from asymformer_ros.engine.golden import golden_frames

REPORT = "precision.json"


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


def torch_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """The network in PyTorch: each step launched by itself, or a CUDA graph; in a precision, a layout, or compiled."""
    import torch

    from asymformer_ros.inference.torch import TorchBackend, gpu_of
    from asymformer_ros.inference.torch_gpu import Cuda
    from asymformer_ros.models.opening import open_model

    class Eager(Cuda):
        def record(self, work: object) -> Any:
            raise RuntimeError("it is not wanted")

    if not torch.cuda.is_available():
        return {"reason": f"PyTorch {torch.__version__} finds no GPU that it can use"}
    device, bundle = torch.device("cuda"), open_model(model, form="bundle")
    graphed = gpu_of(device)  # without TF32 from here on
    dtype = {"torch_fp32": torch.float32, "torch_bf16": torch.bfloat16}.get(name, torch.float16)
    backend = TorchBackend(bundle, device, dtype, graphed if name in ("torch_graph", "torch_bf16") else Eager())
    if name == "torch_contiguous":
        backend._network.to(memory_format=torch.contiguous_format)
    if name == "torch_compile":
        backend._gpu._network = torch.compile(backend._gpu._network)
    if not backend.is_finite():
        return {"reason": f"{backend.name}: the answer is not finite"}
    result = finish(lambda rgb, depth: backend.infer(rgb, depth).labels, backend.card.input_size, folder, name)
    return {**result, "serves_as": backend.name, "notes": SAID}


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


SPEEDS = {
    "torch_fp32": torch_part,
    "torch_fp16": torch_part,
    "torch_contiguous": torch_part,
    "torch_bf16": torch_part,
    "torch_compile": torch_part,
    "torch_graph": torch_part,
    "precision": precision_part,
    "tensorrt_fp16": engine_part,
    "tensorrt_mixed": engine_part,
}
