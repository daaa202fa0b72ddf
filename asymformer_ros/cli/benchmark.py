"""`asymformer benchmark`: how fast a model is on this computer."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asymformer_ros.cli.options import add_model
from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.inference.choices import BACKENDS, DEVICES, SERVED_PRECISIONS

if TYPE_CHECKING:
    from asymformer_ros.evaluation.speed import Speed
    from asymformer_ros.inference.backend import InferenceBackend

PUBLISHED = {
    "source": "the authors, arXiv:2309.14065: published network, 480x640",
    "parameters": 33.0e6,
    "operations": 36.0e9,
    "frames_per_second": {"RTX 3090, FP32": 65, "RTX 3090, mixed precision": 79},
}
"""For orientation: measured by others, on another machine, with another idea of what belongs to a frame."""

_LIBRARIES = ("numpy", "opencv-python-headless", "opencv-python", "torch", "onnxruntime", "tensorrt", "tensorrt_rtx")
_TABLE = f"{'':44}{'median':>9}{'p95':>9}{'p99':>9}{'1/s':>8}"
_INSIDE = (
    "network: from a pair of the input's size in main memory to its labels there, choice of the class and all",
    "frame to labels: from a camera's frame to labels of its size: resizing of both, too; not reading, not transport",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measure how long a model takes on this computer, of the network alone and from a camera's frame to labels, "
        "on the machine as it is and beside busy loops; with parameters, operations and memory."
    )
    add_model(parser)
    parser.add_argument(
        "--backends", nargs="+", choices=BACKENDS, default=["auto"], metavar="B", help=f"{', '.join(BACKENDS)} [auto]"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="of PyTorch [auto]")
    parser.add_argument(
        "--precision", choices=SERVED_PRECISIONS, default="fp16", help="as the node's; auto waits for no frames [fp16]"
    )
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="timed, after 5 that are not [100]")
    parser.add_argument(
        "--busy", type=int, default=2, metavar="N", help="busy loops of the loaded machine; 0: none [2]"
    )
    parser.add_argument(
        "--recording", type=Path, metavar="DIR", help="frames to time on [four simulated ones, 640x480]"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON of all figures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError, BackendError, FrameError or ConfigurationError, as opening and running do."""
    if args.frames < 1 or args.busy < 0:
        raise ConfigurationError(f"--frames {args.frames} and --busy {args.busy}: expected 1 or more, and 0 or more")
    content: dict[str, Any] = {"model": args.model, "machine": _machine(), "inside": list(_INSIDE), "results": []}
    print("\n".join(_machine_lines(content["machine"])))
    for backend in args.backends:
        found = _measured(args, backend)
        content["results"].append(found)
        print("\n".join(_lines(found)), flush=True)
    content["complexity"], content["published"] = _complexity(args), PUBLISHED
    print("\n".join(_closing_lines(content)))
    if args.output:
        _write(args.output, content)
    return 0


def _measured(args: argparse.Namespace, backend: str) -> dict[str, Any]:
    from asymformer_ros.engine.frames import sample_frames
    from asymformer_ros.evaluation.speed import PeakMemory, measure
    from asymformer_ros.inference.options import ServingOptions
    from asymformer_ros.inference.selection import open_serving
    from asymformer_ros.system.busy import busy_loops

    frames, memory, started = list(sample_frames(args.recording, 8)), PeakMemory(), time.perf_counter()
    options = ServingOptions(backend, args.device, args.label_set, precision=args.precision, wait=True)
    with closing(open_serving(args.model, options)) as served:
        opened = time.perf_counter() - started
        speeds = {"as it is": measure(served, frames, args.frames)}
        if args.busy:
            with busy_loops(args.busy):
                speeds[f"{args.busy} busy loops"] = measure(served, frames, args.frames)
        return _result(served, speeds, opened, memory.bytes, frames[0].size)


def _result(
    served: InferenceBackend, speeds: dict[str, Speed], opened: float, memory: int | None, size: tuple[int, int]
) -> dict[str, Any]:
    return {
        "backend": served.name,
        "agreement": getattr(served, "agreement", ""),
        "model_sha256": served.model_sha256,
        "input_size": list(served.card.input_size),
        "frame_size": list(size),
        "open_seconds": opened,
        "peak_memory_bytes": memory,
        "milliseconds": {name: asdict(speed) for name, speed in speeds.items()},
    }


def _machine() -> dict[str, Any]:
    from importlib import metadata  # not for the help, which it would delay

    from asymformer_ros import __version__
    from asymformer_ros.engine.driver import GpuInfo, probe_gpu
    from asymformer_ros.node.hardware import computer_name
    from asymformer_ros.system.limits import usable_cpus

    gpu = probe_gpu()
    versions = {"asymformer_ros": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {
        "computer": computer_name(),
        "cpus": usable_cpus(),
        "load_before": round(os.getloadavg()[0], 2),
        "gpu": str(gpu) if isinstance(gpu, GpuInfo) else None,
        "system": platform.platform(),
        "versions": versions,
    }


def _complexity(args: argparse.Namespace) -> dict[str, Any] | None:
    """None where it cannot be counted: an ONNX file, or no PyTorch."""
    try:
        from asymformer_ros.models.complexity import complexity
        from asymformer_ros.models.opening import open_bundle

        bundle = open_bundle(args.model, args.label_set)
        return asdict(complexity(bundle, bundle.card.input_size))
    except AsymformerError:
        return None


def _machine_lines(machine: dict[str, Any]) -> Iterator[str]:
    gpu = machine["gpu"] or "none"
    yield f"{machine['computer']}, {machine['cpus']} CPUs, GPU {gpu}, load {machine['load_before']:.1f}"
    yield ", ".join(f"{name} {version}" for name, version in machine["versions"].items())


def _lines(found: dict[str, Any]) -> Iterator[str]:
    height, width = found["input_size"]
    memory = found["peak_memory_bytes"]
    yield ""
    frame = "x".join(map(str, found["frame_size"]))
    yield f"{found['backend']}, input {height}x{width} (height x width), frames {frame}"
    yield f"opened in {found['open_seconds']:.1f} s, peak memory of the process " + (
        f"{memory / 2**20:.0f} MiB" if memory else "not known"
    )
    if found["agreement"]:
        yield found["agreement"]
    yield _TABLE
    for condition, speed in found["milliseconds"].items():
        for name, key in (("network", "network"), ("frame to labels", "whole")):
            one = speed[key]
            figures = "".join(f"{one[value]:9.1f}" for value in ("median", "p95", "p99"))
            yield f"{f'{name}, {condition}, ms':44}{figures}{1e3 / one['median']:8.1f}"


def _closing_lines(content: dict[str, Any]) -> Iterator[str]:
    counted = content["complexity"]
    yield ""
    if counted:
        millions, flops = counted["parameters"] / 1e6, counted["flops"] / 1e9
        yield f"{millions:.2f} M parameters, {flops:.2f} GFLOPs an image ({flops / 2:.2f} G multiply-adds)"
    else:
        yield "parameters and operations are counted of bundles, with PyTorch"
    yield from content["inside"]
    speeds = ", ".join(f"{speed} a second on {device}" for device, speed in PUBLISHED["frames_per_second"].items())  # type: ignore[attr-defined]
    yield f"for orientation, not measured here: {PUBLISHED['source']}: 33.0 M parameters, 36.0 G operations, {speeds}"


def _write(path: Path, content: dict[str, Any]) -> None:
    from asymformer_ros.system.files import write_atomically

    try:
        write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")
    except OSError as error:
        raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error
    print(f"wrote {path}")
