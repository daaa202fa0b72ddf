"""Time of one frame by backend, precision and input size, idle and beside busy loops, as ratios to PyTorch as trained.

Each backend takes a whole frame and gives labels, by turns with the others; `eager` is the network unfolded in PyTorch.
Wall time says what a robot sees; CPU time is for machines on which others work, too.

    python benchmarks/network.py                             # demo, rooms and the published network, untrained
    python benchmarks/network.py --models nyuv2 --sizes 480x640,384x512 --busy 0,2 --json network.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import PUBLISHED, by_turns, command_line, finish, picture, shown, table, work_folder
from numpy.typing import NDArray
from served_models import bundle_file, serving

from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.errors import AsymformerError
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.camera_network import plain_labels
from asymformer_ros.models.opening import open_bundle
from asymformer_ros.system.busy import busy_loops

MODELS = ("demo", "rooms", PUBLISHED)
SERVED = (("torch", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("auto", "bf16"))


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


Answers = dict[str, Callable[[], NDArray[np.uint8]]]
"""What gives the labels of one frame, by backend; the first is "eager"."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 0."""
    parser = command_line(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, help="known names, bundles")
    parser.add_argument("--sizes", default="", help="HEIGHTxWIDTH,... in place of the models' own")
    parser.add_argument("--busy", default="0,2", help="numbers of busy loops beside (default: 0,2)")
    parser.add_argument("--runs", type=int, default=12, help="of each backend, after one to warm up (default: 12)")
    parser.add_argument("--seconds", type=float, default=40.0, help="after which no further run begins (default: 40)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture of the ratios there")
    args = parser.parse_args(argv)
    if args.quick:
        args.models, args.busy, args.runs = ["demo"], "0,1", 3
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    with work_folder(args) as work:
        for model in args.models:
            for size in args.sizes.split(","):
                rows += _measure(model, size, work, args, left_out)
    if args.plot:
        plot(rows, args.plot)
    return finish(args, {"rows": [asdict(row) for row in rows], "left_out": left_out}, _told(rows, left_out))


def _measure(model: str, size: str, work: Path, args: argparse.Namespace, left_out: dict[str, str]) -> Iterator[Row]:
    input_size = (int(size.partition("x")[0]), int(size.partition("x")[2])) if size else None
    bundle = bundle_file(model, work, input_size)
    answers = _answers(bundle, work, left_out)
    expected = answers["eager"]()
    same = {name: float((answer() == expected).mean()) for name, answer in answers.items()}
    height, width = expected.shape
    for busy in (int(number) for number in args.busy.split(",")):
        with busy_loops(busy):
            times = by_turns(list(answers.values()), args.runs, args.seconds)
        wall, cpu = np.median(times.wall, axis=1), np.median(times.cpu, axis=1)
        for name, *found in zip(answers, wall, cpu, wall / wall[0], cpu / cpu[0], same.values(), strict=True):
            yield Row(model, f"{height}x{width}", name, busy, *(round(float(one), 4) for one in found))


def _answers(path: Path, work: Path, left_out: dict[str, str]) -> Answers:
    """left_out: gets those that cannot run here, and why."""
    bundle = open_bundle(str(path))
    frame = resize_frame(next(iter(sample_frames(None, 1))), bundle.card.input_size)
    answers: Answers = {"eager": lambda: plain_labels(bundle, *frame)}
    for library, precision in SERVED:
        try:
            backend = open_serving(str(path), serving(work, library, precision))
        except AsymformerError as error:
            left_out[f"{library} {precision}"] = str(error)
        else:
            answers[backend.name] = lambda backend=backend: backend.infer(*frame).labels  # type: ignore[misc]
    return answers


def _told(rows: Sequence[Row], left_out: dict[str, str]) -> str:
    head = (
        "model",
        "size",
        "busy loops",
        "backend",
        "wall (ms)",
        "ratio to eager",
        "CPU (ms)",
        "ratio",
        "labels as eager",
    )
    cells = [
        (
            *(shown(row.model), row.size, row.busy, row.backend, f"{row.wall_ms:.1f}", f"{row.wall_ratio:.2f}"),
            *(f"{row.cpu_ms:.1f}", f"{row.cpu_ratio:.2f}", f"{row.same_labels:.3%}"),
        )
        for row in rows
    ]
    return "\n".join([table(head, cells), *(f"\nleft out: {name}: {why}" for name, why in left_out.items())])


def plot(rows: Sequence[Row], path: Path) -> None:
    """Each backend's ratio to eager PyTorch, idle and busy."""
    names = list(dict.fromkeys((row.model, row.backend) for row in rows if row.backend != "eager"))
    loads = sorted({row.busy for row in rows})
    found: dict[Any, float] = {(row.model, row.backend, row.busy): row.wall_ratio for row in rows}
    with picture(path, 1, (9, 4.5)) as axes:
        for at, busy in enumerate(loads):
            places = np.arange(len(names)) + at / (len(loads) + 1)
            axes.bar(places, [found[(*name, busy)] for name in names], 1 / (len(loads) + 1), label=f"{busy} busy loops")
        axes.set_xticks(
            range(len(names)), ["\n".join([shown(model), *name.split()]) for model, name in names], fontsize=6
        )
        axes.set_ylabel("time, eager PyTorch is 1")
        axes.legend()


if __name__ == "__main__":
    sys.exit(main())
