"""`asymformer SUBCOMMAND ...`: prints the errors that a user can act on in one line, without a traceback."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from asymformer_ros import __version__
from asymformer_ros.errors import AsymformerError
from asymformer_ros.optional import BRINGS, missing_error
from asymformer_ros.signals import exit_code, handling

SUBCOMMANDS = (
    "build-engine",
    "calibrate",
    "convert",
    "demo",
    "doctor",
    "evaluate",
    "export",
    "precision",
    "render",
    "train",
    "untrained",
    "weights",
)
"""Each is the module of this name, with `_` for `-`."""

_INTERRUPTED = exit_code(signal.SIGINT)
_NOBODY_READS = exit_code(signal.SIGPIPE)


def build_parser(subcommands: Sequence[str] = SUBCOMMANDS) -> argparse.ArgumentParser:
    """The command line with these subcommands; what only the others import is not imported."""
    parser = argparse.ArgumentParser(prog="asymformer", description="RGB-D semantic segmentation with AsymFormer.")
    parser.add_argument("--version", action="version", version=f"asymformer_ros {__version__}")
    subparsers = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    for name in subcommands:
        import_module(f"asymformer_ros.cli.{name.replace('-', '_')}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code: 0, 1 for an error that is the user's to mend, 130 for Ctrl-C.

    SIGTERM and SIGHUP raise SystemExit with 143 and 129: temporary files and processes end with the command. Where
    nobody reads the output any more, as after `| head`, the answer is 141.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except AsymformerError as error:
        return _refuse(error)
    except ModuleNotFoundError as error:
        if error.name not in BRINGS:
            raise
        return _refuse(missing_error([error.name], "this"))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        return _NOBODY_READS


def _run(argv: list[str]) -> int:
    known = [argv[0]] if argv and argv[0] in SUBCOMMANDS else SUBCOMMANDS
    args = build_parser(known).parse_args(argv)
    with handling(_end, signal.SIGTERM, signal.SIGHUP), _log_to_stderr():
        return int(args.run(args))


def _refuse(error: AsymformerError) -> int:
    print(f"asymformer: {error}", file=sys.stderr)
    return 1


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Print what the package logs, from INFO on, one line each, for the time of a command."""
    logger, handler = logging.getLogger("asymformer_ros"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("asymformer: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _end(number: int, _: FrameType | None) -> None:
    """Unwind at a signal as at Ctrl-C; by default it ends the process where it stands."""
    raise SystemExit(exit_code(number))


if __name__ == "__main__":
    sys.exit(main())
