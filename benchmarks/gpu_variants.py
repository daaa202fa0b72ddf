"""Builds of `scripts/gpu_check` that differ from the package's own in one thing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from gpu_engine import Logged, chosen, measured, this_gpu, told


def graph_file(model: str, folder: Path, precision: str) -> tuple[Path, tuple[str, ...]]:
    """The ONNX file that the builder gets, and the names of the nodes that it keeps in FP32."""
    from asymformer_ros.engine.build import GraphFiles
    from asymformer_ros.engine.context import BuildContext
    from asymformer_ros.models.opening import open_model

    place = folder / "graphs"
    place.mkdir(exist_ok=True)
    return GraphFiles(open_model(model), place, chosen().precision_in_graph, None).make(precision, BuildContext())


@dataclass(frozen=True)
class Variant:
    """A build that differs from the package's own. change: of the configuration, after the package has set it."""

    onnx: Path
    precision: str
    pinned: tuple[str, ...] = ()
    change: Callable[[Any, Any], None] | None = None


def variant_part(place: Path, model: str, variant: Variant) -> dict[str, Any]:
    """Build in this very process, where the folder does not have it yet, and measure."""
    from asymformer_ros.models.opening import open_model

    plan, kept = place / "engine.plan", place / "build.json"
    if not kept.is_file():
        kept.write_text(json.dumps(_compile(plan, variant)))
    facts = json.loads(kept.read_text())
    manifest = SimpleNamespace(**facts, plan_bytes=plan.stat().st_size, precisions=None)
    opened = open_model(model)
    return {**measured(opened, plan), **told(opened, plan, manifest)}


def _compile(plan: Path, variant: Variant) -> dict[str, Any]:
    from asymformer_ros.engine import compiler
    from asymformer_ros.engine.options import BuildOptions

    library = chosen()
    options = BuildOptions(library.name, variant.precision, pinned=variant.pinned, gpu=this_gpu())
    with changed(compiler, variant.change):
        start = perf_counter()
        compiled = compiler.compile_plan(library, variant.onnx, options, Logged())
        seconds = perf_counter() - start
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_bytes(compiled.plan)
    return {"build_seconds": seconds, "notes": list(compiled.unmatched)}


@contextmanager
def changed(compiler: Any, change: Callable[[Any, Any], None] | None) -> Iterator[None]:
    """While it is entered, builds have their configuration changed after the package has set it."""
    real = compiler.set_precision

    def then_change(library: Any, network: Any, config: Any, options: Any) -> Any:
        unmatched = real(library, network, config, options)
        if change is not None:
            change(library.trt, config)
        return unmatched

    compiler.set_precision = then_change
    try:
        yield
    finally:
        compiler.set_precision = real
