"""The Markdown report of `scripts/gpu_check`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TITLES = {
    "torch_fp32": "PyTorch eager, FP32",
    "torch_fp16": "PyTorch eager, FP16",
    "torch_contiguous": "PyTorch eager, FP16, channels not last",
    "torch_graph": "PyTorch, CUDA graph, FP16, as it serves",
    "torch_bf16": "PyTorch, CUDA graph, BF16",
    "torch_compile": "PyTorch, torch.compile, FP16",
    "tensorrt_fp16": "TensorRT, FP16",
    "tensorrt_mixed": "TensorRT, mixed",
}
"""Rows of the table of speeds."""

VARIANTS = {
    "build": "FP16, as it serves",
    "pins_obey": "FP16, pinned layers obeyed",
    "pins_prefer": "FP16, pinned layers preferred",
    "pins_none": "FP16, nothing pinned",
    "against": "FP16, the other form of the graph",
    "tf32_on": "FP32 with TF32",
    "tf32_off": "FP32 without TF32, as it serves",
    "second_build": "FP16, built again with the kernel timings",
}
"""Rows of the table of the demo model's engines."""

_HEAD = "| {} | {}p50 ms | p95 ms | p99 ms | frames/s | GPU memory MiB | labels as FP32 |"


def markdown(results: dict[str, Any]) -> str:
    """Both tables, what the other parts found, and what could not run."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = results["parts"]
    lines = [
        f"# {results['gpu']}",
        "",
        f"Batch 1, from NumPy frame to NumPy label map, {results['date'][:10]}. Driver for CUDA "
        f"{results['driver_cuda']}, Python {results['python']}, {versions}.",
        "",
        f"## Speed of `{results['model']}`",
        _HEAD.format("runs on", ""),
        "|---|---|---|---|---|---|---|",
        *(_row(title, parts[part]) for part, title in TITLES.items() if "p50_ms" in parts.get(part, {})),
        "",
        "## Engines of `demo`",
        _HEAD.format("engine", "build s | "),
        "|---|---|---|---|---|---|---|---|",
        *(_row(title, parts[part], build=True) for part, title in VARIANTS.items() if "p50_ms" in parts.get(part, {})),
        "",
        "GPU memory: all that the GPU has in use meanwhile. Labels: share of equal pixels in golden frames.",
        "",
        *(f"* {part}: {text}" for part, answer in parts.items() for text in _findings(answer)),
    ]
    return "\n".join(lines) + "\n"


def _row(title: str, answer: dict[str, Any], *, build: bool = False) -> str:
    first = [f"{answer['build_seconds']:.0f}"] if build else []
    times = " | ".join((*first, *(f"{answer[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms"))))
    memory, agreement = answer["used_memory_mib"], answer["agreement"]
    last = f"{'?' if memory is None else f'{memory:.0f}'} | {'?' if agreement is None else f'{agreement:.3%}'}"
    return f"| {title} | {times} | {answer['fps']:.1f} | {last} |"


def _findings(answer: dict[str, Any]) -> Iterator[str]:
    for key, text in (
        ("reason", "{}"),
        ("skipped", "left out: {}"),
        ("summary", "{}"),
        ("refused", "must not serve: {}"),
    ):
        if answer.get(key):
            yield text.format(answer[key])
    yield from answer.get("failed", ())
