"""`asymformer build-engine`: the TensorRT engine of a model, into the cache."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import Subparsers

if TYPE_CHECKING:
    from asymformer_ros.engine.build import Progress
    from asymformer_ros.engine.cache import Engine

_TOLD_EVERY = 10.0  # seconds, where the output is no terminal


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "build-engine",
        help="build the TensorRT engine of a model",
        description="Build the TensorRT engine of a model for this computer's GPU, and keep it in the cache. "
        "Nothing is built where the cache has it already.",
    )
    parser.add_argument("model", metavar="MODEL", help="bundle, .onnx file, or a name such as nyuv2 or demo")
    parser.add_argument(
        "--precision", choices=("fp16", "mixed", "fp32"), default="fp16", help="mixed needs --report (default: fp16)"
    )
    parser.add_argument("--report", type=Path, metavar="JSON", help="of `asymformer precision`: what stays in FP32")
    parser.add_argument(
        "--workspace", type=int, default=1024, metavar="MIB", help="scratch memory of the engine (default: 1024)"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of engines (default: ~/.cache/asymformer_ros/engines)"
    )
    parser.add_argument(
        "--builder",
        choices=("auto", "tensorrt", "tensorrt_rtx"),
        default="auto",
        help="library that builds (default: auto, tensorrt where there is a GPU for it)",
    )
    parser.add_argument(
        "--timeout", type=float, default=3600.0, metavar="SECONDS", help="longest time to build (default: 3600)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises BackendError, CheckpointError or ConfigurationError, as `engine_request` and `provide_engine` do."""
    import importlib
    import tempfile
    from dataclasses import replace

    importlib.import_module("asymformer_ros.models.onnx_file")  # says what to install where there is no onnx
    from asymformer_ros.engine.build import Watch
    from asymformer_ros.engine.cache import EngineCache
    from asymformer_ros.engine.driver import probe_gpu
    from asymformer_ros.engine.golden import make_verifier
    from asymformer_ros.engine.options import BuildOptions
    from asymformer_ros.engine.provide import choose_builder, provide_engine
    from asymformer_ros.engine.source import engine_model, engine_request
    from asymformer_ros.models.catalogue import model_files
    from asymformer_ros.onnx_graph.report import PrecisionReport
    from asymformer_ros.serving import engine_obstacle

    report = PrecisionReport.load(args.report) if args.report else None
    library = choose_builder(args.builder, probe_gpu())  # before a model is exported in vain
    options = BuildOptions(library.name, args.precision, args.workspace)
    model, display = model_files(args.model).readable, Display()
    with tempfile.TemporaryDirectory(prefix="asymformer_engine_") as folder:
        request = engine_request(model, options, report, Path(folder))
        if not engine_obstacle():
            verifier = make_verifier(model, engine_model(model), library, display.log)
            request = replace(request, verifier=verifier)
        watch = Watch(on_progress=display.show, timeout=args.timeout)
        try:
            engine = provide_engine(EngineCache(args.cache), request, watch, display.log, library.name)
        finally:
            display.end()
    print(describe(engine))
    return 0


class Display:
    """Progress: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._phase, self._next = "", 0.0

    def show(self, progress: Progress) -> None:
        text = f"{progress.seconds:6.1f} s  {progress.phase} {progress.done}/{progress.total}"
        if self._live:
            print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)
        elif progress.seconds >= self._next:
            self._next = progress.seconds + _TOLD_EVERY
            print(text, file=sys.stderr, flush=True)

    def log(self, text: str) -> None:
        self.end()
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
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
