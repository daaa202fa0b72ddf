"""`asymformer build-engine`: the TensorRT engine of a model, into the cache."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import add_model
from asymformer_ros.engine.choices import BUILDERS, OPTIMIZATION_LEVELS, PRECISIONS

if TYPE_CHECKING:
    from asymformer_ros.engine.cache import Engine
    from asymformer_ros.engine.context import BuildProgress

_LOGGER = logging.getLogger("asymformer_ros.engine")
_TOLD_EVERY = 10.0  # seconds, where the output is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Build the TensorRT engine of a model for this computer's GPU, and keep it in the cache. "
        "Nothing is built where the cache has it already."
    )
    add_model(parser)
    parser.add_argument(
        "--batch", type=int, default=1, help="images at a time: the node's number of cameras (default: 1)"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp16", help="mixed needs --report (default: fp16)")
    parser.add_argument("--report", type=Path, metavar="JSON", help="of `asymformer precision`: what stays in FP32")
    parser.add_argument(
        "--workspace", type=int, metavar="MIB", help="scratch memory of the engine (default: what the builder wants)"
    )
    parser.add_argument(
        "--optimization-level",
        type=int,
        choices=OPTIMIZATION_LEVELS,
        help="how long to look for fast kernels, 0 to 5 (default: the builder's own, 3)",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of engines (default: ~/.cache/asymformer_ros/engines)"
    )
    parser.add_argument(
        "--builder",
        choices=("auto", *BUILDERS),
        default="auto",
        help="library that builds (default: auto, tensorrt where there is a GPU for it)",
    )
    parser.add_argument(
        "--timeout", type=float, default=3600.0, metavar="SECONDS", help="longest time to build (default: 3600)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises BackendError, CheckpointError or ConfigurationError, as `open_model` and `provide_engine` do."""
    import importlib

    importlib.import_module("asymformer_ros.models.onnx_file")  # says what to install where there is no onnx
    from asymformer_ros.engine.cache import EngineCache
    from asymformer_ros.engine.context import BuildContext
    from asymformer_ros.engine.driver import GpuInfo, probe_gpu
    from asymformer_ros.engine.provide import provide_engine
    from asymformer_ros.engine.request import EngineRequest, choose_builder
    from asymformer_ros.inference.selection import engine_obstacle, golden_check
    from asymformer_ros.models.opening import open_model
    from asymformer_ros.onnx_graph.report import PrecisionReport

    report = PrecisionReport.load(args.report) if args.report else None
    gpu = probe_gpu()
    library = choose_builder(args.builder, gpu)
    model, display = open_model(args.model, batch=args.batch, label_set=args.label_set), Display()
    request = EngineRequest(
        model=model,
        library=library,
        gpu=gpu if isinstance(gpu, GpuInfo) else None,
        precision=args.precision,
        report=report,
        workspace_mib=args.workspace,
        optimization_level=args.optimization_level,
        check=None if engine_obstacle(gpu) else golden_check(model, library),
    )
    with display:
        engine = provide_engine(EngineCache(args.cache), request, BuildContext(display.show, args.timeout))
    print(describe(engine))
    return 0


class Display(logging.Handler):
    """Progress: one line that changes on a terminal, a line now and then elsewhere. It makes way for what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self._live = sys.stderr.isatty()
        self._last = self._next = 0.0

    def __enter__(self) -> None:
        _LOGGER.addHandler(self)

    def __exit__(self, *_: object) -> None:
        _LOGGER.removeHandler(self)
        self._end()

    def show(self, progress: BuildProgress) -> None:
        """Say how far the build is. Each of its steps has its own time."""
        if progress.seconds < self._last:
            self._next = 0.0
        self._last = progress.seconds
        text = f"{progress.seconds:6.1f} s  {progress.phase} {progress.done}/{progress.total}"
        if self._live:
            print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)
        elif progress.seconds >= self._next:
            self._next = progress.seconds + _TOLD_EVERY
            print(text, file=sys.stderr, flush=True)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler. The handler that prints comes later: its logger is the parent."""
        self._end()

    def _end(self) -> None:
        """Take the changing line away."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def describe(engine: Engine) -> str:
    """A few lines about an engine that is in the cache."""
    manifest = engine.manifest
    identity = manifest.identity
    gpu = f"{identity.gpu} (compute capability {identity.compute_capability})" if identity.gpu else "no GPU in sight"
    lines = [
        f"{engine.plan} ({manifest.plan_bytes / 1e6:.1f} MB)",
        f"{identity.model_name}: {manifest.served_precision}, built in {manifest.build_seconds:.1f} s by "
        f"{identity.builder} {identity.builder_version}, {gpu}",
    ]
    if manifest.precisions:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(manifest.precisions.items()))
        lines.append(f"layers: {counts}")
    if manifest.verification is None:
        lines.append("not verified yet: it serves only after its labels were compared with FP32 on the GPU")
    else:
        found = manifest.verification
        lines.append(f"verified: {found.agreement:.2%} of the labels of {found.frames} frames are those of FP32")
    return "\n".join((*lines, *(f"note: {note}" for note in manifest.notes)))
