"""`asymformer dataset`: original downloads into the layout of the package, and what is wrong with a data set."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import progress_bar
from asymformer_ros.errors import ConfigurationError, FrameError

if TYPE_CHECKING:
    from asymformer_ros.datasets import DataSet

_SHOWN = 20
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Convert the original download of NYUv2 or SUN RGB-D, or check any data set."
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", required=True)
    check = verbs.add_parser("check", help="read every frame and name what is wrong; exit code 1 where something is")
    check.add_argument("folder", type=Path, metavar="DIR", help="folder of the data set")
    check.set_defaults(run=run_check)
    make = verbs.add_parser(
        "prepare",
        help="write the PNG layout; goes on where it was interrupted",
        description="Write a data set in the PNG layout. The same command again goes on where it was interrupted. "
        "Frames that cannot be read are left out and named in broken.txt; the exit code is then 1.",
    )
    make.add_argument("folder", type=Path, metavar="DIR", help="folder of the download")
    make.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder to write")
    make.set_defaults(run=run_prepare)


def run_check(args: argparse.Namespace) -> int:
    """Raises ConfigurationError where the folder is no data set that is known."""
    from asymformer_ros.datasets.check import SplitCheck, overlap

    bar = progress_bar()
    splits, problems = _splits(args.folder)
    checks = {split: SplitCheck(data) for split, data in splits.items()}
    for split, check in checks.items():
        for _ in bar(check.run(), split, total=len(check.data), unit="frame"):
            pass
        print("\n".join(check.summary(split)))
        problems += [f"{split} {problem}" for problem in (*check.strangers(split), *check.problems)]
    problems += overlap(checks)
    for problem in problems[:_SHOWN]:
        print(problem)
    if len(problems) > _SHOWN:
        print(f"and {len(problems) - _SHOWN} more")
    print(f"{len(problems)} problems" if problems else "nothing is wrong")
    return 1 if problems else 0


def _splits(folder: Path) -> tuple[dict[str, DataSet], list[str]]:
    """The splits that are there, and what is wrong with the others."""
    from asymformer_ros.datasets import SPLITS, open_for_check

    splits, problems = {}, []
    for split in SPLITS:
        try:
            splits[split] = open_for_check(folder, split)
        except FrameError as error:
            problems.append(f"{split}: {error}")
    if not splits:
        raise FrameError("; ".join(problems))
    return splits, problems


def run_prepare(args: argparse.Namespace) -> int:
    """Raises ConfigurationError, FrameError, DependencyError, or AsymformerError where it cannot be written."""
    from asymformer_ros.datasets import open_data_set
    from asymformer_ros.datasets.prepare import BROKEN_FILE, prepare, write_broken

    bar = progress_bar()
    splits, problems = _splits(args.folder)
    for problem in problems:
        _log.warning("%s", problem)
    if args.output.resolve() == args.folder.resolve():
        raise ConfigurationError("--output is the download itself: give another folder")
    broken: list[str] = []
    total = sum(len(data) for data in splits.values())
    for _ in bar(prepare(splits, args.output, broken.append), total=total, unit="frame"):
        pass
    counts = (f"{len(open_data_set(args.output, split))} frames of {split}" for split in splits)
    print(f"wrote {' and '.join(counts)} into {args.output}")
    write_broken(args.output, broken)
    if broken:
        told = args.output / BROKEN_FILE
        _log.warning("%d frames are left out, the first is %s; all are in %s", len(broken), broken[0], told)
    return 1 if broken or problems else 0
