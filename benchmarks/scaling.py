"""What several cameras, and fewer cores, make of rate and age.

python benchmarks/scaling.py
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from node_run import Run, measure, options, table

_RATE = 10.0  # Hz, of each camera


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    args = parser.parse_args(argv)
    cores = len(os.sched_getaffinity(0))
    plans = [(1, cores), (4, cores)] if args.quick else [(n, c) for c in sorted({1, cores}) for n in (1, 2, 4)]
    seconds = 3.0 if args.quick else args.seconds
    rows = [
        {
            "cameras": cameras,
            "cores_given": given,
            **measure(Run(args.model, _RATE, cameras, 0, "labels", given, seconds, args.folder)),
        }
        for cameras, given in plans
    ]
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"scaling": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
