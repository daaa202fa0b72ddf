"""`asymformer segment`: labels for recordings, on this machine or on a cluster."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asymformer_ros.cli.options import progress_bar
from asymformer_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from asymformer_ros.datasets.unlabelled import SourceSpec
    from asymformer_ros.evaluation.recordings.job import Job
    from asymformer_ros.evaluation.recordings.run import Progress

SOME_BROKEN = 3
"""Exit code where all is done but for frames or recordings that are broken."""

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Segment recordings: folders, ROS 2 bags, videos with depth, pairs of images. No ROS installation is needed. "
        "The same command, run again, goes on where it was interrupted. Exit code 3 says that some frames were broken."
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="folders, bags, patterns in quotes, or URLs of them")
    parser.add_argument("--rgb", metavar="A", help="in place of INPUT: a colour image, folder, pattern or video")
    parser.add_argument("--depth", metavar="B", help="its depth: an image, folder, pattern or video of 16 bit")
    parser.add_argument("--model", required=True, metavar="MODEL", help="name or file of the model, as for `evaluate`")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder or URL of the results")
    _add_results(parser.add_argument_group("what is written"))
    _add_selection(parser.add_argument_group("which frames"))
    _add_way(parser.add_argument_group("how"))
    parser.set_defaults(run=run)


def _add_results(group: Any) -> None:
    group.add_argument("--palette", action="store_true", help="labels as indexed PNG, with the classes' colours within")
    group.add_argument("--points", choices=("ply",), help="a labelled point cloud of each frame, too")
    group.add_argument("--video", action="store_true", help="video.mp4 of the overlays with a legend, too")
    group.add_argument("--bag", action="store_true", help="of a bag: a bag of its topics and segmentation/*, too")
    group.add_argument("--alpha", type=float, default=0.5, help="weight of the overlay's colours, 0 to 1 [0.5]")
    group.add_argument(
        "--min-confidence", type=float, default=0.0, metavar="C", help="pixels below it are unlabelled [0]"
    )


def _add_selection(group: Any) -> None:
    group.add_argument("--every", type=int, default=1, metavar="N", help="each N-th frame only")
    group.add_argument(
        "--from",
        dest="first",
        type=float,
        default=0.0,
        metavar="T",
        help="begin there: seconds into a bag, else a frame's number",
    )
    group.add_argument("--to", dest="last", type=float, default=float("inf"), metavar="T", help="end there, likewise")
    group.add_argument("--split", default="test", help="of a labelled data set [test]")
    for name in ("rgb", "depth", "info"):
        group.add_argument(f"--{name}-topic", default="", metavar="TOPIC", help="of a bag [found by type and name]")


def _add_way(group: Any) -> None:
    group.add_argument("--on", default="", metavar="dask://HOST:PORT", help="a Dask cluster's scheduler [this process]")
    group.add_argument("--chunk", type=float, default=60.0, metavar="S", help="seconds of a bag in one piece [60]")
    group.add_argument("--backend", default="auto", help="as for `evaluate` [auto]")
    group.add_argument("--device", default="auto", help="of PyTorch [auto]")
    group.add_argument("--label-set", default="", metavar="SET", help="in place of the model's own")
    group.add_argument("--strict", action="store_true", help="end at the first frame or recording that is broken")
    group.add_argument("--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError where inputs or options make no sense, StoreError where nothing can be written."""
    from asymformer_ros.evaluation.recordings.run import Choices
    from asymformer_ros.evaluation.recordings.run import run as run_jobs

    if args.quiet:
        logging.getLogger("asymformer_ros").setLevel(logging.ERROR)
    jobs = _jobs(args)
    choices = Choices(args.on, args.video, args.bag, args.strict)
    with _progress(args.quiet) as progress:
        outcome = run_jobs(jobs, choices, progress)
    frames, broken, alone = (
        sum(getattr(one, name) for one in outcome.counts) for name in ("frames", "broken", "without_depth")
    )
    if not args.quiet:
        failed = f", {len(outcome.failed)} recordings left out" if outcome.failed else ""
        without = f", {alone} colour images without depth" if alone else ""
        print(f"{frames} frames segmented, {broken} broken{without}{failed}: {args.output}")
    nothing = any(one.without_depth and not one.frames for one in outcome.counts)
    return SOME_BROKEN if broken or nothing or outcome.failed else 0


def _jobs(args: argparse.Namespace) -> list[Job]:
    from asymformer_ros.evaluation.recordings.files import FrameFiles
    from asymformer_ros.evaluation.recordings.job import Job, known_model
    from asymformer_ros.evaluation.recordings.store import Store
    from asymformer_ros.inference.options import ServingOptions

    if not 0 <= args.alpha <= 1 or not 0 <= args.min_confidence <= 1:
        raise ConfigurationError("--alpha and --min-confidence are between 0 and 1")
    specs = _specs(args)
    names = [spec.name for spec in specs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"several inputs are called {', '.join(sorted(twice))}: segment them apart")
    serving = ServingOptions(args.backend, args.device, args.label_set, wait=True)
    sha256 = known_model(args.model, serving).backend.model_sha256
    files = FrameFiles(args.palette, bool(args.points), args.alpha)
    places = [args.output if len(specs) == 1 else Store(args.output).below(name).place for name in names]
    return [
        Job(spec, place, args.model, serving, sha256, files, args.min_confidence, args.strict)
        for spec, place in zip(specs, places, strict=True)
    ]


def _specs(args: argparse.Namespace) -> list[SourceSpec]:
    from asymformer_ros.datasets.unlabelled import SourceSpec, expand

    if bool(args.rgb) != bool(args.depth) or bool(args.rgb) == bool(args.inputs):
        raise ConfigurationError("give INPUT, or both --rgb and --depth in its place")
    places = [(args.rgb, args.depth)] if args.rgb else [(path, "") for one in args.inputs for path in expand(one)]
    topics = (args.rgb_topic, args.depth_topic, args.info_topic)
    choice = (topics, args.split, args.every, args.first, args.last, args.chunk)
    return [SourceSpec(path, depth, *choice) for path, depth in places]


class _Silent:
    """A Progress that nobody watches."""

    def expect(self, frames: int) -> None:
        pass

    def done(self, frames: int) -> None:
        pass


class _Bar:
    """A Progress as a bar with rate and time left."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def expect(self, frames: int) -> None:
        self._bar.total = (self._bar.total or 0) + frames
        self._bar.refresh()

    def done(self, frames: int) -> None:
        self._bar.update(frames)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    if quiet:
        yield _Silent()
        return
    with progress_bar()(total=0, unit="frame", file=sys.stderr) as bar:
        yield _Bar(bar)
