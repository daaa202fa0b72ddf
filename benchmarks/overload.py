"""Freshness: how many labels come, and how old they are, against load.

    python benchmarks/overload.py
    python benchmarks/overload.py --quick --json overload.json --plot overload.png

The camera's rate grows past what the machine does, and busy loops join in; then the published network at 30 Hz. What no
queue may do is grow: neither ages nor memory have a slope over time. Frames that there is no time for are dropped, the
newest wins.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import PUBLISHED, finish, picture, shown, table_of, work_folder
from node_run import Run, command_line_of_node, measure

_LOADS = (("demo", 15.0, 0), ("demo", 30.0, 0), ("demo", 60.0, 0), ("demo", 90.0, 0), ("demo", 30.0, 1))
_LOADS += (("demo", 30.0, 2), (PUBLISHED, 30.0, 0))  # model, camera's rate, busy loops
_LONGER = 2
"""Times the seconds of the others: that the published network, of which few labels come, is measured."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 0."""
    parser = command_line_of_node(__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture of ages and drops there")
    args = parser.parse_args(argv)
    rows = []
    with work_folder(args) as work:
        for model, rate, busy in _LOADS[1:4:2] if args.quick else _LOADS:
            seconds = 3.0 if args.quick else args.seconds * (_LONGER if model == PUBLISHED else 1)
            run = Run(model, (rate,), busy, seconds=seconds, folder=args.folder, work=work)
            rows.append({"model": model, "camera_hz": rate, "busy_loops": busy, **measure(run)})
    if args.plot:
        plot(rows, args.plot)
    return finish(args, {"rows": rows}, table_of(rows))


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Ages and drops of each row."""
    names = [f"{shown(row['model'])}\n{row['camera_hz']:.0f} Hz\n{row['busy_loops']} busy" for row in rows]
    with picture(path, 2, (8, 5)) as (upper, lower):
        for key, label in (("age_p50_ms", "p50"), ("age_p99_ms", "p99")):
            upper.plot(names, [row[key] for row in rows], "o-", label=label)
        upper.set_ylabel("age of labels (ms)")
        upper.set_yscale("log")
        upper.legend()
        lower.bar(names, [100 * row["dropped"] for row in rows])
        lower.set_ylabel("dropped (%)")


if __name__ == "__main__":
    sys.exit(main())
