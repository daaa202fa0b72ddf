"""What several cameras, of one rate and of different ones, and fewer cores make of rate and age.

python benchmarks/scaling.py

`fair_hz` is what each camera gets where the labels that came are shared fairly: those that ask for less than an equal
share get all that they ask for, the others the same of the rest. `least_share` is the worst camera's part of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from measuring import finish, table_of, work_folder
from node_run import Run, command_line_of_node, labelled, listening, stream

_DIFFERENT = (30.0, 15.0, 5.0, 1.0)
_ON_ONE_CORE = ((10.0,), _DIFFERENT)
_ON_ALL = ((10.0,), (10.0,) * 2, (10.0,) * 4, _DIFFERENT)  # Hz, of each camera


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 0."""
    args = command_line_of_node(__doc__).parse_args(argv)
    cores = len(os.sched_getaffinity(0))
    plans = [(rates, 1) for rates in _ON_ONE_CORE] if cores > 1 else []
    plans += [(rates, cores) for rates in _ON_ALL]
    seconds = 3.0 if args.quick else args.seconds
    with work_folder(args) as work:
        rows = [
            measure(Run(rates=rates, cores=given, seconds=seconds, folder=args.folder, work=work))
            for rates, given in (plans[-1:] if args.quick else plans)
        ]
    return finish(args, {"rows": rows}, table_of(rows))


def measure(run: Run) -> dict[str, Any]:
    """One row."""
    with listening(run) as listener:
        labelled(listener)
        figures = stream(listener, run.seconds)
        seconds = len(listener.arrivals()) / figures["labels_hz"]
        came = [len(labels) / seconds for labels in listener.labels.values()]
        sent = [count / seconds for count in listener.sent.values()]
        ages = [float(np.median([age for _, age in labels])) if labels else None for labels in listener.labels.values()]
    fair = fair_rates(sent, sum(came))
    return {
        "cameras_hz": list(run.rates),
        "cores_given": run.cores,
        "labels_hz_by_camera": [round(rate, 1) for rate in came],
        "fair_hz": [round(rate, 1) for rate in fair],
        "least_share": round(min(got / due for got, due in zip(came, fair, strict=True) if due), 2),
        "age_p50_ms_by_camera": [age and round(age, 1) for age in ages],
        **figures,
    }


def fair_rates(wanted: Sequence[float], total: float) -> list[float]:
    """`total` shared among those who want so much: none more than it wants, all others the same."""
    fair, left = [0.0] * len(wanted), total
    for done, at in enumerate(sorted(range(len(wanted)), key=lambda index: wanted[index])):
        fair[at] = min(wanted[at], left / (len(wanted) - done))
        left -= fair[at]
    return fair


if __name__ == "__main__":
    sys.exit(main())
