"""Where a command begins: Ctrl-C is one line from here on, also while the command line itself is imported."""

import os
import sys


def start() -> int:
    """Run the command line; returns its exit code."""
    _open_missing_streams()
    try:
        from asymformer_ros.cli.main import main

        return main()
    except KeyboardInterrupt:  # while the line above was imported, or while a command unwound from the first one
        print("asymformer: interrupted", file=sys.stderr)
        return 130


def _open_missing_streams() -> None:
    """What was closed by the caller, as some service managers do, goes nowhere."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
