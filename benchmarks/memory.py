"""Memory and cores of the node: while nobody listens, with labels alone, with all outputs.

python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from node_run import Run, measure, options, table

LIMITS = {"idle_cores": 0.01, "published_rss_mib": 650}

_SHOWN = ("cores", "rss_mib")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    args = parser.parse_args(argv)
    seconds = 3.0 if args.quick else args.seconds
    rows = []
    for outputs in ("none", "labels", "all"):
        told = measure(Run(args.model, 30.0, 1, 0, outputs, 0, seconds, args.folder))
        rows.append({"listened_to": outputs, **{name: told[name] for name in _SHOWN}})
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"memory": rows, "limits": LIMITS}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
