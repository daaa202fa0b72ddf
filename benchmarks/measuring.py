"""What the benchmarks share: times taken by turns, processes beside, tables, pictures, the command line of a part."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.system.signals import end_with_parent

PUBLISHED = "untrained_full"
"""The published network, with random weights, which take the same time."""

_PATIENCE = 30.0  # seconds for a process to end


@dataclass(frozen=True)
class Times:
    """Milliseconds, (actions, runs) each: wall time is what a robot sees, CPU time what load disturbs less."""

    wall: NDArray[np.float64]
    cpu: NDArray[np.float64]


def by_turns(actions: Sequence[Callable[[], object]], runs: int, seconds: float = float("inf")) -> Times:
    """Times of actions that run one after the other, every other time backwards, after one run that does not count.

    seconds: after which no further run begins, once there are three.
    """
    seen: list[list[tuple[float, float]]] = [[] for _ in actions]
    end = monotonic() + seconds
    for run in range(runs + 1):
        if run > 3 and monotonic() > end:
            break
        for index in sorted(range(len(actions)), reverse=bool(run % 2)):
            wall, cpu = perf_counter(), process_time()
            actions[index]()
            seen[index].append((perf_counter() - wall, process_time() - cpu))
    return Times(*(np.array(seen)[:, 1:].transpose(2, 0, 1) * 1e3))


@contextmanager
def running(
    arguments: Sequence[str], output: Any = subprocess.DEVNULL, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process of this Python, ended with SIGINT, killed where it does not end, gone with this process in any case.

    output: of both its streams. environment: this process's own, where it is None.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        text=True,
        stdout=output,
        stderr=subprocess.STDOUT,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def shown(model: str) -> str:
    """A model's name for people."""
    return "published" if model == PUBLISHED else Path(model).stem


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys in Markdown; lists with slashes."""

    def told(value: Any) -> str:
        return " / ".join(str(one) for one in value) if isinstance(value, list) else str(value)

    return table(
        [name.replace("_", " ") for name in rows[0]], [[told(value) for value in row.values()] for row in rows]
    )


@contextmanager
def picture(path: Path, rows: int, size: tuple[float, float]) -> Iterator[Any]:
    """The axes of a picture that is written at the end; `rows` of them, one below the other. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, 1, sharex=True, figsize=size)
    yield axes
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


@contextmanager
def work_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Where models and their graphs are made: what `--work` names, or a folder that goes with the block."""
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        yield work


def command_line(description: str | None, models: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that each part of the suite has. models: whether it needs a folder for them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="little of all: whether it runs, not how fast it is")
    if models:
        parser.add_argument("--work", type=Path, metavar="DIR", help="folder in which models and their graphs are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser


def finish(args: argparse.Namespace, figures: Mapping[str, Any], text: str) -> int:
    """Print, and write the figures where the command line asks for it. Returns 0."""
    print(text)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0
