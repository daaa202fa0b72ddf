"""What the node takes while nobody listens, and what happens when subscribers come: cores, memory, first label, stall.

python benchmarks/memory.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from measuring import PUBLISHED, finish, table_of, work_folder
from node_run import ALL, Listener, Run, command_line_of_node, cores, labelled, listening, stream

_RATE = 30.0  # Hz
_LEAVING = 6.5  # seconds in which a node that nobody listens to has left the camera


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables. Returns 0."""
    parser = command_line_of_node(__doc__)
    parser.add_argument("--models", nargs="+", default=("demo", PUBLISHED), help="known names, bundles")
    parser.add_argument("--comings", type=int, default=3, help="of a first subscriber (default: 3)")
    args = parser.parse_args(argv)
    if args.quick:
        args.models, args.comings, args.seconds = ["demo"], 1, 3.0
    with work_folder(args) as work:
        run = Run(rates=(_RATE,), outputs=(), seconds=args.seconds, folder=args.folder, work=work)
        rows = [measure(replace(run, model=model), args.comings) for model in args.models]
    return finish(args, {"rows": rows}, table_of(rows))


def measure(run: Run, comings: int) -> dict[str, Any]:
    """One row, of one node: first nobody listens, then to labels, then to confidence, too, then to everything."""
    with listening(run) as listener:
        listener.wait(lambda: listener.status, "word of the node on /diagnostics")
        listener.spin(_LEAVING)
        idle = cores(listener, 1.5 * run.seconds)[0]
        first = [_first_label(listener) for _ in range(comings)]
        listener.listen("labels")
        labelled(listener)
        labels = stream(listener, run.seconds)
        usual, longest = _coming(listener, run.seconds, "confidence")
        confidence = listener.memory[-1][1]
        listener.listen(*set(ALL) - {"labels", "confidence"})
        listener.spin(run.seconds)
        everything = listener.memory[-1][1]
    return {
        "model": run.model,
        "idle_cores": round(idle, 4),
        "first_label_ms": round(float(np.median(first)), 1),
        "period_ms": round(1e3 / _RATE, 1),
        "inference_ms": labels["inference_ms"],
        "labels_rss_mib": round(labels["rss_mib"]),
        "confidence_rss_mib": round(confidence),
        "all_rss_mib": round(everything),
        "usual_gap_ms": round(usual, 1),
        "longest_gap_as_confidence_comes_ms": round(longest, 1),
    }


def _first_label(listener: Listener) -> float:
    """Milliseconds from a subscription to its first label; nobody listens before, nor afterwards."""
    listener.clear()
    listener.listen("labels")
    seconds = listener.wait(lambda: any(listener.labels.values()), "label")
    listener.leave("labels")
    listener.spin(_LEAVING)
    return seconds * 1e3


def _coming(listener: Listener, seconds: float, output: str) -> tuple[float, float]:
    """The median of the times between labels in ms, and the longest one when somebody subscribes to another output."""
    before = listener.arrivals()
    listener.clear()
    listener.listen(output)
    listener.spin(seconds)
    listener.wait(lambda: len(listener.arrivals()) > 1, "labels")
    usual, longest = np.median(_gaps(before)), np.max(_gaps([before[-1], *listener.arrivals()]))
    return float(usual), float(longest)


def _gaps(labels: Sequence[tuple[float, float]]) -> Any:
    """Milliseconds between arrivals."""
    return np.diff([arrived for arrived, _ in labels]) * 1e3


if __name__ == "__main__":
    sys.exit(main())
