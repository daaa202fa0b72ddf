"""`asymformer view`: what was segmented, as one HTML page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from asymformer_ros.evaluation.recordings.store import Store

_PAGE = "view.html"
_MOST = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make one HTML page of the results of `asymformer segment`: camera, depth, labels and overlay of each frame, "
        "classes over time, and with --data the truth, errors, confusion matrix, and the worst frames first. It opens "
        "from the disk in any browser, without a server."
    )
    parser.add_argument("results", metavar="OUT", help="folder or URL that `segment` or `evaluate` has written")
    parser.add_argument(
        "--input", default="", metavar="INPUT", help="the recording that was segmented [where it was then]"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="labelled data set that holds the true classes")
    parser.add_argument("--split", default="test", help="of the data set: train or test [test]")
    parser.add_argument("--label-set", default="", metavar="SET", help="name or .json file of the classes [their own]")
    parser.add_argument("--frames", type=int, default=_MOST, metavar="N", help=f"at most so many frames [{_MOST}]")
    parser.add_argument("-o", "--output", metavar="PAGE", help=f"file or URL to write [OUT/{_PAGE}]")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError or FrameError where there is nothing to show, StoreError where it cannot be written."""
    from asymformer_ros.evaluation.page.results import Sources, results_page
    from asymformer_ros.evaluation.recordings.store import Store

    if args.frames < 1:
        raise ConfigurationError(f"--frames is {args.frames}: expected 1 or more")
    store = Store(args.results)
    if store.read("report.json") is not None:
        return _of_report(store)
    path = args.output or store.below(_PAGE).place
    page = results_page(store, Sources(args.input, args.data, args.split, args.label_set), args.frames)
    content = page.html().encode()
    folder, name = os.path.split(path)
    Store(folder or ".").write(name, content)
    print(f"wrote {path} ({len(content) / 1e6:.1f} MB), {len(page.frames)} of {page.total} frames")
    return 0


def _of_report(store: Store) -> int:
    """`evaluate` has made the page, as only it has the labels."""
    page = store.below(_PAGE).place
    if store.read(_PAGE) is None:
        raise ConfigurationError(f"the report in '{store.place}' has no page: the same `asymformer evaluate` makes one")
    print(page)
    return 0
