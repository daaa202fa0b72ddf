"""`asymformer view`: what was segmented, as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from asymformer_ros.errors import AsymformerError, ConfigurationError

_PAGE = "view.html"
_MOST = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make one HTML page of the results of `asymformer segment`: camera, depth, labels and overlay of each frame, "
        "classes over time, and with --data the truth, errors, confusion matrix, and the worst frames first. It opens "
        "from the disk in any browser, without a server."
    )
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder that `segment` or `evaluate` has written")
    parser.add_argument(
        "--input", default="", metavar="INPUT", help="the recording that was segmented [where it was then]"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="labelled data set that holds the true classes")
    parser.add_argument("--split", default="test", help="of the data set: train or test [test]")
    parser.add_argument("--label-set", default="", metavar="SET", help="name or .json file of the classes [their own]")
    parser.add_argument("--frames", type=int, default=_MOST, metavar="N", help=f"at most so many frames [{_MOST}]")
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE", help=f"file to write [OUT/{_PAGE}]")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError or FrameError where there is nothing to show."""
    from asymformer_ros.evaluation.page.results import Sources, results_page

    if args.frames < 1:
        raise ConfigurationError(f"--frames is {args.frames}: expected 1 or more")
    path = args.output or args.folder / _PAGE
    if (args.folder / "report.json").is_file():
        return _of_report(args.folder)
    page = results_page(args.folder, Sources(args.input, args.data, args.split, args.label_set), args.frames)
    try:
        page.save(path)
    except OSError as error:
        raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB), {len(page.frames)} of {page.total} frames")
    return 0


def _of_report(folder: Path) -> int:
    """`evaluate` has made the page, as only it has the labels."""
    page = folder / _PAGE
    if not page.is_file():
        raise ConfigurationError(f"the report in '{folder}' has no page: the same `asymformer evaluate` makes one")
    print(page)
    return 0
