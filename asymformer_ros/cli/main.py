"""`asymformer SUBCOMMAND ...`: prints the errors that a user can act on in one line, without a traceback."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import TextIO

from asymformer_ros import __version__
from asymformer_ros.errors import AsymformerError
from asymformer_ros.optional import BRINGS, missing_error
from asymformer_ros.system.signals import exit_code, handling

SUBCOMMANDS = {
    "benchmark": "measure how fast a model is on this computer",
    "build-engine": "build the TensorRT engine of a model",
    "calibrate": "make a model's confidence the share of pixels that are right",
    "convert": "make a model bundle from a checkpoint",
    "dataset": "convert a data set's original download, or check a data set",
    "demo": "segment a simulated or recorded camera for some seconds and leave a picture",
    "doctor": "tell what this computer has and lacks",
    "evaluate": "measure a model's mIoU on a labelled data set",
    "export": "make an ONNX file from a model",
    "precision": "say which layers of a model may run in FP16",
    "render": "render a labelled data set of simulated rooms",
    "segment": "segment recordings: folders, ROS 2 bags, videos",
    "train": "train a model on labelled frames",
    "untrained": "make a model bundle with random weights",
    "view": "make an HTML page of what was segmented",
    "weights": "list and download trained weights",
}
"""What each does. It is the module of this name, with `_` for `-`, that has `add_arguments` and `run`."""

_INTERRUPTED = exit_code(signal.SIGINT)
_NOBODY_READS = exit_code(signal.SIGPIPE)


def build_parser(loaded: Collection[str] = SUBCOMMANDS.keys()) -> argparse.ArgumentParser:
    """The command line, with the arguments of the subcommands in `loaded`; the modules of others are not imported."""
    parser = argparse.ArgumentParser(prog="asymformer", description="RGB-D semantic segmentation with AsymFormer.")
    parser.add_argument("--version", action="version", version=f"asymformer_ros {__version__}")
    subparsers = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    for name, purpose in SUBCOMMANDS.items():
        subcommand = subparsers.add_parser(name, help=purpose)
        if name in loaded:
            import_module(f"asymformer_ros.cli.{name.replace('-', '_')}").add_arguments(subcommand)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code: 0, 1 for an error that is the user's to mend, 130 for Ctrl-C.

    SIGTERM and SIGHUP raise SystemExit with 143 and 129: temporary files and processes end with the command. Where
    nobody reads the output any more, as after `| head`, the answer is 141; where it cannot be written, as on a full
    disk, 1.
    """
    try:
        try:
            return _answer(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not _is_lost(sys.stdout):
            raise
        if isinstance(error, BrokenPipeError):
            return _NOBODY_READS
        return _refuse(f"the output cannot be written: {error.strerror}")


def _answer(argv: list[str]) -> int:
    try:
        return _run(argv)
    except AsymformerError as error:
        return _refuse(error)
    except ModuleNotFoundError as error:
        if error.name not in BRINGS:
            raise
        return _refuse(missing_error([error.name], "this"))
    except KeyboardInterrupt:
        _refuse("interrupted")
        return _INTERRUPTED


def _is_lost(stream: TextIO) -> bool:
    """Whether a stream cannot be written to; then what Python flushes at its end goes nowhere."""
    try:
        stream.write(" ")
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False


def _run(argv: list[str]) -> int:
    args = build_parser(argv[:1]).parse_args(argv)
    with handling(_end, signal.SIGTERM, signal.SIGHUP), _log_to_stderr():
        return int(args.run(args))


def _refuse(reason: AsymformerError | str) -> int:
    with suppress(OSError):  # where nobody reads it, the exit code says it
        print(f"asymformer: {reason}", file=sys.stderr)
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
