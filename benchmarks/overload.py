"""Ages and drops of labels against load: the camera's rate grows past what the machine does, and busy loops join in.

    python benchmarks/overload.py
    python benchmarks/overload.py --quick --json overload.json --plot overload.png

What no queue may do is grow: the ages of a row's second half are those of its first. Frames that there is no time for
are dropped, the newest wins.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node_run import Run, measure, options, table

LIMITS = {"age_p50_ms": 40, "age_p99_ms": 60, "labels_hz": 30}
"""Of `demo` at 30 Hz on two cores that do nothing else."""

_GROWN = 3.0
"""Times the first half's median age, above which the second half's means that a queue grows."""

_LOADS = ((15.0, 0), (30.0, 0), (60.0, 0), (90.0, 0), (30.0, 1), (30.0, 2))  # camera rate, busy loops


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 1 where a queue has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--plot", type=Path, help="write a picture of ages and drops there")
    args = parser.parse_args(argv)
    seconds = 3.0 if args.quick else args.seconds
    loads = _LOADS[1::2] if args.quick else _LOADS
    rows = []
    for rate, busy in loads:
        run = Run(args.model, rate, busy=busy, seconds=seconds, folder=args.folder)
        rows.append({"camera_hz": rate, "busy_loops": busy, **measure(run)})
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"overload": rows, "limits": LIMITS}, indent=2) + "\n")
    if args.plot:
        plot(rows, args.plot)
    grown = [row for row in rows if _grows(row["age_p50_of_halves_ms"])]
    for row in grown:
        print(f"a queue grows at {row['camera_hz']} Hz and {row['busy_loops']} busy loops")
    return 1 if grown else 0


def _grows(halves: Sequence[float]) -> bool:
    return halves[1] > _GROWN * halves[0]


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Ages and drops of each row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [f"{row['camera_hz']:.0f} Hz\n{row['busy_loops']} busy" for row in rows]
    figure, (upper, lower) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5))
    for key, label in (("age_p50_ms", "p50"), ("age_p99_ms", "p99")):
        upper.plot(names, [row[key] for row in rows], "o-", label=label)
    upper.set_ylabel("age of labels (ms)")
    upper.set_ylim(bottom=0)
    upper.legend()
    lower.bar(names, [100 * row["dropped"] for row in rows])
    lower.set_ylabel("dropped (%)")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
