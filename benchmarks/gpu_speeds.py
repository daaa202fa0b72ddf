"""The speeds that `scripts/gpu_check` compares: the network in PyTorch, and as an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_engine import Infer, built, chosen, measure, told, used_memory

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


SPEEDS = {
    "torch_fp32": torch_part,
    "torch_fp16": torch_part,
    "torch_compile": torch_part,
    "torch_graph": torch_part,
    "precision": precision_part,
    "tensorrt_fp16": engine_part,
    "tensorrt_mixed": engine_part,
}
