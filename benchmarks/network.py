"""Time of one frame by backend, precision and input size, idle and beside busy loops, as ratios to PyTorch as trained.

Each backend takes a whole frame and gives labels, by turns with the others; `eager` is the network unfolded in PyTorch.
Wall time says what a robot sees; CPU time is for machines on which others work, too.

    python benchmarks/network.py                             # demo, rooms and the published network, untrained
    python benchmarks/network.py --models nyuv2 --sizes 480x640,384x512 --busy 0,2 --json network.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.errors import AsymformerError
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.camera_network import plain_labels
from asymformer_ros.models.opening import open_bundle

MODELS = ("demo", "rooms", "untrained_full")
SERVED = (("torch", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("openvino", "bf16"))


@dataclass(frozen=True)
class Row:
    """One backend's median times in ms, their ratios to eager PyTorch, and the share of its labels that are eager's."""

    model: str
    size: str
    backend: str
    busy: int
    wall_ms: float
    cpu_ms: float
    wall_ratio: float
    cpu_ratio: float
    same_labels: float


Answer = Callable[[], np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table, and write it with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="known names, bundles")
    parser.add_argument("--sizes", default="", help="HEIGHTxWIDTH,... in place of the models' own")
    parser.add_argument("--busy", default="0,2", help="numbers of busy loops beside (default: 0,2)")
    parser.add_argument("--runs", type=int, default=10, help="of each backend, after one to warm up (default: 10)")
    parser.add_argument("--quick", action="store_true", help="three runs of demo, idle")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, too")
    args = parser.parse_args(argv)
    if args.quick:
        args.models, args.busy, args.runs = ["demo"], "0", 3
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, {args.runs} runs; ratios to eager PyTorch")
    columns = f"{'backend':22}{'wall ms':>9}{'ratio':>7}{'CPU ms':>9}{'ratio':>7}{'labels':>9}"
    print(f"{'model':16}{'size':>9}{'busy':>5} {columns}")
    rows: list[Row] = []
    for model in args.models:
        for size in args.sizes.split(","):
            for row in _measure(model, size, args):
                rows.append(row)
                print(
                    f"{Path(row.model).stem[:15]:16}{row.size:>9}{row.busy:>5} {row.backend:22}{row.wall_ms:>9.1f}"
                    f"{row.wall_ratio:>7.2f}{row.cpu_ms:>9.1f}{row.cpu_ratio:>7.2f}{row.same_labels:>9.2%}",
                    flush=True,
                )
    if args.json:
        content = {"benchmark": "network", "machine": machine, "rows": [vars(row) for row in rows]}
        args.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def _measure(name: str, size: str, args: argparse.Namespace) -> Iterator[Row]:
    bundle = open_bundle(name)
    if size:
        height, width = (int(edge) for edge in size.split("x"))
        bundle = replace(bundle, card=replace(bundle.card, input_size=(height, width)))
    height, width = bundle.card.input_size
    frame = resize_frame(next(iter(sample_frames(None, 1))), (height, width))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        bundle.save(path)
        answers: dict[str, Answer] = {"eager": lambda: plain_labels(bundle, *frame)}
        for backend, precision in SERVED:
            try:
                answers |= _served(str(path), backend, precision, folder, frame)
            except AsymformerError as error:
                print(f"{backend} {precision} is left out: {error}", file=sys.stderr)
        expected = answers["eager"]()
        same = {key: float((answer() == expected).mean()) for key, answer in answers.items()}  # warms up, too
        for busy in (int(number) for number in args.busy.split(",")):
            with _busy_loops(busy):
                times = _times(list(answers.values()), args.runs)
            for key, (wall, cpu) in zip(answers, times, strict=True):
                ratios = wall / times[0][0], cpu / times[0][1]
                yield Row(name, f"{height}x{width}", key, busy, wall * 1e3, cpu * 1e3, *ratios, same[key])


def _served(
    path: str, backend: str, precision: str, cache: str, frame: tuple[np.ndarray, np.ndarray]
) -> dict[str, Answer]:
    library = "auto" if backend == "openvino" else backend
    served = open_serving(path, ServingOptions(library, "cpu", precision=precision, engine_cache=cache))
    return {served.name: lambda: served.infer(*frame).labels}


def _times(answers: list[Answer], runs: int) -> list[tuple[float, float]]:
    """Median wall and CPU seconds of each, run by turns, every other time backwards."""
    seen: list[list[tuple[float, float]]] = [[] for _ in answers]
    for run in range(runs):
        for index in sorted(range(len(answers)), reverse=bool(run % 2)):
            wall, cpu = perf_counter(), process_time()
            answers[index]()
            seen[index].append((perf_counter() - wall, process_time() - cpu))
    return [(float(np.median([w for w, _ in one])), float(np.median([c for _, c in one]))) for one in seen]


@contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    sys.exit(main())
