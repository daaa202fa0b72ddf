"""What the first hour on a GPU is to answer about the engine path, in parts of `scripts/gpu_check`; see docs/gpu.md."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np
from gpu_engine import OTHERS, Logged, built, chosen, measured, told
from gpu_variants import Variant, graph_file, variant_part

RATE = 30.0
AFTER = 100  # frames after the swap
_PROFILED = 30  # runs
_KINDS = {
    "argmax": ("argmax", "topk"),
    "CMA attention": ("correlate",),
    "other attention": ("attention", "mha"),
    "layer norm": ("norm",),
    "reformat": ("reformat", "reformatting"),
    "convolution": ("conv",),
}
"""Groups of the profile, and what the names of their layers hold; the first that fits counts."""


def build_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """1. The child's build in FP16, and the inspector's own text."""
    from asymformer_ros.engine import api

    library = chosen()
    opened, engine = built(model, folder / name)
    text = api.inspect_plan(library, engine.plan.read_bytes(), api.make_logger(library.trt, Logged()))
    return {**measured(opened, engine.plan), **told(opened, engine.plan, engine.manifest), "inspected": text}


def types_part(_name: str, model: str, folder: Path) -> dict[str, Any]:
    """2. What `get_output_type` says of a parsed network's layers, against the type of their output tensor."""
    from asymformer_ros.engine import api, compiler

    library = chosen()
    trt = library.trt
    logger = api.make_logger(trt, Logged())
    builder = trt.Builder(logger)
    network = builder.create_network(compiler._network_flags(library))
    compiler._parse(library, network, graph_file(model, folder, "fp16")[0], logger)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    pairs = [(str(layer.get_output_type(0)), str(layer.get_output(0).dtype)) for layer in layers if layer.num_outputs]
    counts = {f"{said}, tensor {real}": pairs.count((said, real)) for said, real in sorted(set(pairs))}
    return {"counts": counts, "summary": "; ".join(f"{count} x {pair}" for pair, count in counts.items())}


def pins_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """3. Pinned layers that are obeyed, preferred, or not there."""

    def obey(trt: Any, config: Any) -> None:
        config.clear_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)

    library = chosen()
    if library.precision_in_graph:
        return {"skipped": f"{library.name} {library.version} takes each layer's precision from the graph"}
    onnx, pinned = graph_file(model, folder, "fp16")
    if not pinned:
        return {"skipped": "no layer of this graph is pinned"}
    change = obey if name == "pins_obey" else None
    return variant_part(folder / name, model, Variant(onnx, "fp16", () if name == "pins_none" else pinned, change))


def tf32_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """6. FP32 with TF32, as TensorRT has it by default, and without, as the package builds it."""

    def allow(trt: Any, config: Any) -> None:
        config.set_flag(trt.BuilderFlag.TF32)

    onnx, _ = graph_file(model, folder, "fp32")
    return variant_part(folder / name, model, Variant(onnx, "fp32", change=allow if name == "tf32_on" else None))


def against_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """5. The graph in another form, such as before one of its changes: an ONNX file that was exported elsewhere."""
    if not OTHERS:
        return {"skipped": "no file is given with --against"}
    onnx = Path(OTHERS[0])
    if chosen().precision_in_graph:
        from asymformer_ros.engine.source import typed_graph
        from asymformer_ros.models.onnx_file import load

        onnx = folder / "graphs" / f"{name}.onnx"
        onnx.parent.mkdir(exist_ok=True)
        onnx.write_bytes(typed_graph(load(OTHERS[0]), "fp16", ()).SerializeToString())
    return variant_part(folder / name, model, Variant(onnx, "fp16"))


def profile_part(_name: str, model: str, folder: Path) -> dict[str, Any]:
    """4. Where the time of the engine of the first part goes, layer by layer."""
    from asymformer_ros.engine.cuda import PycudaGpu
    from asymformer_ros.engine.runtime import TensorRtEngine
    from asymformer_ros.engine.session import GpuSession

    library, (_, engine) = chosen(), built(model, folder / "build")
    times: dict[str, float] = {}
    session = GpuSession(
        PycudaGpu(),
        lambda: _profiled(library, TensorRtEngine(library, engine.plan.read_bytes()), times),
        use_graph=False,
    )
    session.run()
    times.clear()
    for _ in range(_PROFILED):
        session.run()
    session.close()
    layers = {layer: total / _PROFILED for layer, total in sorted(times.items(), key=lambda item: -item[1])}
    groups: dict[str, float] = {}
    for layer, milliseconds in layers.items():
        group = group_of(layer)
        groups[group] = groups.get(group, 0.0) + milliseconds
    text = ", ".join(f"{group} {total:.3f} ms" for group, total in groups.items())
    return {"groups": groups, "layers": layers, "summary": f"{len(layers)} layers: {text}"}


def group_of(layer: str) -> str:
    """The group of the profile that a layer's name belongs to."""
    return next((group for group, words in _KINDS.items() if any(word in layer.lower() for word in words)), "other")


def swap_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """9. Frames at 30 Hz while the engine is built, verified and swapped in: the longest gap between two answers."""
    from asymformer_ros.inference.options import ServingOptions
    from asymformer_ros.inference.selection import open_serving

    _fresh_with_timings(folder, name)
    backend = open_serving(model, ServingOptions(engine_cache=str(folder / name)))
    try:
        return gaps(backend, _frames(backend.card.input_size))
    finally:
        backend.close()


def gaps(backend: Any, frames: list[tuple[Any, Any]], rate: float = RATE) -> dict[str, Any]:
    """Times between answers until an engine has served for AFTER frames. backend: with name, progress and infer."""
    start, ends, names = monotonic(), [perf_counter()], [""]
    while names[-AFTER:].count("engine") < AFTER:
        begin = perf_counter()
        rgb, depth = frames[len(ends) % len(frames)]
        backend.infer(rgb, depth)
        ends.append(perf_counter())
        names.append("engine" if backend.name.startswith("tensorrt") else "fallback")
        if getattr(backend, "progress", "").startswith("none"):
            return {"reason": f"there is no engine to go over to: {backend.progress}"}
        sleep(max(0.0, 1 / rate - (perf_counter() - begin)))
    waits = np.diff(ends) * 1e3
    swap = names.index("engine") - 1
    found = {
        "frames": len(waits),
        "seconds": monotonic() - start,
        "longest_ms": float(waits.max()),
        "longest_near_swap_ms": float(waits[max(0, swap - 60) : swap + 30].max()),
        "p50_ms_between": float(np.percentile(waits, 50)),
    }
    text = f"longest gap {found['longest_ms']:.0f} ms, {found['longest_near_swap_ms']:.0f} ms near the swap"
    return {**found, "summary": f"{text}, {found['frames']} frames at {rate:.0f} Hz"}


def second_build_part(name: str, model: str, folder: Path) -> dict[str, Any]:
    """10. The first part's build again, with the kernel timings that it has left."""
    if not _fresh_with_timings(folder, name):
        return {"skipped": "the first build has left no kernel timings"}
    opened, engine = built(model, folder / name)
    return {**measured(opened, engine.plan), **told(opened, engine.plan, engine.manifest)}


QUESTIONS: dict[str, Callable[[str, str, Path], dict[str, Any]]] = {
    "build": build_part,
    "types": types_part,
    "pins_obey": pins_part,
    "pins_prefer": pins_part,
    "pins_none": pins_part,
    "profile": profile_part,
    "against": against_part,
    "tf32_on": tf32_part,
    "tf32_off": tf32_part,
    "swap": swap_part,
    "second_build": second_build_part,
}


def _profiled(library: Any, engine: Any, times: dict[str, float]) -> Any:
    """The engine, whose context adds each layer's milliseconds to `times`."""
    trt = library.trt

    def report(_self: Any, layer: str, milliseconds: float) -> None:
        times[layer] = times.get(layer, 0.0) + milliseconds

    methods = {"__init__": lambda self: trt.IProfiler.__init__(self), "report_layer_time": report}
    engine._context.profiler = type("Profiler", (trt.IProfiler,), methods)()
    return engine


def _fresh_with_timings(folder: Path, name: str) -> bool:
    """An empty cache of engines but for the first build's kernel timings; whether there are any."""
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir()
    timings = list((folder / "build").glob("timings-*.bin"))
    for file in timings:
        shutil.copy(file, folder / name)
    return bool(timings)


def _frames(size: tuple[int, int]) -> list[tuple[Any, Any]]:
    from asymformer_ros.engine.golden import golden_frames

    return golden_frames(size)
