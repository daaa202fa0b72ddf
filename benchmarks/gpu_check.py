"""Everything that only a GPU can show, in under ten minutes: tests, engines, speed. `scripts/gpu_check` starts it.

Each part is a process of its own with a time limit: one that fails or hangs does not end the others. A part that cannot
run is recorded with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import Any

from asymformer_ros import __version__
from asymformer_ros.engine.driver import NoGpu, probe_gpu

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 580.0  # seconds
LIMITS = {
    "torch_fp32": 60,
    "torch_fp16": 60,
    "torch_graph": 60,
    "precision": 90,
    "tensorrt_fp16": 200,
    "tensorrt_mixed": 200,
    "torch_compile": 120,
    "tests": 300,
}
"""The parts in their order, and the seconds that each may take where the total allows."""

TITLES = {
    "torch_fp32": "PyTorch eager, FP32",
    "torch_fp16": "PyTorch eager, FP16",
    "torch_compile": "PyTorch, torch.compile, FP16",
    "torch_graph": "PyTorch, CUDA graph, FP16",
    "tensorrt_fp16": "TensorRT, FP16",
    "tensorrt_mixed": "TensorRT, mixed",
}
"""Rows of the speed table."""

PACKAGES = ("torch", "tensorrt", "tensorrt_rtx", "pycuda", "onnx", "onnxruntime", "numpy")

PRELOAD = """
import ctypes, glob, os, sys
sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL)
dlopen = ctypes.CDLL(None).dlopen  # ctypes' own way resolves every symbol at once
dlopen.restype, waiting = ctypes.c_void_p, sorted(glob.glob({folder!r} + "/**/lib*.so*", recursive=True))
for _ in range(len(waiting)):  # one that needs another comes in after it
    waiting = [path for path in waiting if not dlopen(os.fsencode(path), os.RTLD_LAZY | os.RTLD_GLOBAL)]
try:
    import tensorrt
except ImportError:
    tensorrt = None
if tensorrt is not None and hasattr(tensorrt, "TacticSource") and tensorrt.__version__.startswith("8."):
    make, sources = tensorrt.Builder.create_builder_config, tensorrt.TacticSource
    def limited(self):
        config = make(self)
        config.set_tactic_sources(
            1 << int(sources.EDGE_MASK_CONVOLUTIONS) | 1 << int(sources.JIT_CONVOLUTIONS)
        )
        return config
    tensorrt.Builder.create_builder_config = limited
"""
"""A `sitecustomize` that brings TensorRT in from a folder, before all else, and without cuBLAS and cuDNN."""


def main(arguments: list[str] | None = None) -> int:
    """Run every part, write the results; returns 1 where there is no GPU or a part of PyTorch or TensorRT failed."""
    args = _parser().parse_args(arguments)
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu):
        print(f"nothing to check, and nothing written: {gpu.reason}", file=sys.stderr)
        return 1
    results: dict[str, Any] = {
        "gpu": gpu.name,
        "compute_capability": gpu.capability,
        "driver_cuda": ".".join(map(str, gpu.cuda)),
        "package_version": __version__,
        "python": sys.version.split()[0],
        "versions": _versions(),
        "model": args.model,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "parts": {},
    }
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as folder:
        environment = _environment(args.libraries, Path(folder))
        end = monotonic() + TOTAL
        for part, limit in LIMITS.items():
            print(f"{part} ...", flush=True)
            allowed = min(float(limit), end - monotonic())
            results["parts"][part] = answer = run_part(_command(part, args.model, folder), environment, allowed)
            print(f"  {_line(answer)}", flush=True)
            write(results, args.output)  # whatever happens next
    return int(any("reason" in answer for answer in results["parts"].values()))


def run_part(command: list[str], environment: dict[str, str], limit: float) -> dict[str, Any]:
    """The JSON in the last line of a command's output, or why there is none."""
    if limit <= 0:
        return {"reason": f"no time is left of {TOTAL:.0f} s"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit, env=environment, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"it took longer than {limit:.0f} s"}
    if "pytest" in command:
        return _tests(done)
    try:
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        return {"reason": f"its process ended with code {done.returncode}: {_tail(done.stderr or done.stdout)}"}


def write(results: dict[str, Any], output: Path) -> None:
    """`<gpu>.json` and the Markdown table beside it."""
    output.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "_", results["gpu"].lower()).strip("_")
    (output / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / f"{name}.md").write_text(markdown(results))


def markdown(results: dict[str, Any]) -> str:
    """The speed table, and what could not run."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"# {results['gpu']}",
        "",
        f"`{results['model']}`, batch 1, from NumPy frame to NumPy label map, {results['date'][:10]}. Driver for CUDA "
        f"{results['driver_cuda']}, Python {results['python']}, {versions}.",
        "",
        "| runs on | p50 ms | p95 ms | p99 ms | frames/s | GPU memory MiB | labels as FP32 |",
        "|---|---|---|---|---|---|---|",
    ]
    parts = results["parts"]
    lines += [_row(title, parts[part]) for part, title in TITLES.items() if "p50_ms" in parts.get(part, {})]
    lines += [
        "",
        "GPU memory: all that the GPU has in use meanwhile. Labels: share of equal pixels in golden frames.",
        "",
    ]
    lines += [f"* {part}: {answer['reason']}" for part, answer in parts.items() if "reason" in answer]
    lines += [
        f"* {part}: must not serve: {answer['refused']}" for part, answer in parts.items() if answer.get("refused")
    ]
    lines += [f"* tests: {parts['tests']['summary']}"] if "summary" in parts.get("tests", {}) else []
    return "\n".join(lines) + "\n"


def _row(title: str, answer: dict[str, Any]) -> str:
    times = " | ".join(f"{answer[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
    memory, agreement = answer["used_memory_mib"], answer["agreement"]
    last = f"{'?' if memory is None else f'{memory:.0f}'} | {'?' if agreement is None else f'{agreement:.3%}'}"
    return f"| {title} | {times} | {answer['fps']:.1f} | {last} |"


def _line(answer: dict[str, Any]) -> str:
    if "reason" in answer:
        return f"not done: {answer['reason']}"
    if "p50_ms" in answer:
        return f"p50 {answer['p50_ms']:.2f} ms, {answer['fps']:.1f} frames/s"
    return str(answer.get("summary", "done"))


def _command(part: str, model: str, folder: str) -> list[str]:
    if part == "tests":
        return [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    return [sys.executable, str(ROOT / "benchmarks" / "gpu_parts.py"), part, model, folder]


def _tests(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    summary = _tail(done.stdout or done.stderr)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 0:
        return {"reason": f"pytest ended with code {done.returncode}: {summary}", "failed": failed}
    return {"summary": summary}


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _environment(libraries: Path | None, folder: Path) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if libraries is not None:
        custom = folder / "custom"
        custom.mkdir()
        (custom / "sitecustomize.py").write_text(PRELOAD.format(folder=str(libraries.resolve())))
        paths = [str(custom), str(libraries.resolve()), *paths]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_check", description="Check everything that needs an NVIDIA GPU.")
    parser.add_argument(
        "--model", default="untrained_full", help="bundle or untrained network (default: untrained_full)"
    )
    parser.add_argument("--libraries", type=Path, metavar="DIR", help="folder with TensorRT's module and libraries")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR", help="where results go"
    )
    return parser
