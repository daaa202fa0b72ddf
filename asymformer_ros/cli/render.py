"""`asymformer render`: a data set of the simulated world."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros import __version__
from asymformer_ros.cli.options import image_size, progress_bar

if TYPE_CHECKING:
    from asymformer_ros.simulation.data_set import RenderPlan

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Render a data set of simulated rooms with true labels, in the PNG layout of the authors, for "
        "training and evaluation. The same numbers give the same files."
    )
    parser.add_argument(
        "folder", type=Path, metavar="OUT", help="new or empty folder, or one that the same command was interrupted in"
    )
    parser.add_argument("--frames", type=int, default=1000, help="frames for training [1000]")
    parser.add_argument("--test-frames", type=int, help="frames for testing, of other rooms [a tenth of --frames]")
    parser.add_argument("--frames-per-room", type=int, default=4, help="after so many comes another room [4]")
    parser.add_argument("--seed", type=int, default=0, help="of the first room [0]")
    parser.add_argument("--size", type=image_size, default=(240, 320), metavar="HxW", help="of the images [240x320]")
    parser.add_argument("--workers", type=int, help="processes [one for each core]")
    parser.add_argument("--furniture", type=Path, metavar="DIR", help="folder of Sweet Home 3D catalogues to mix in")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError where something is missing or the folder has another content."""
    from asymformer_ros.datasets.png import PngWriter
    from asymformer_ros.frames.intrinsics import Intrinsics
    from asymformer_ros.models.labels import label_set
    from asymformer_ros.simulation.catalog import Catalog
    from asymformer_ros.simulation.data_set import RenderPlan, render_frames
    from asymformer_ros.system.limits import usable_cpus

    test_frames = args.test_frames if args.test_frames is not None else max(1, args.frames // 10)
    plan = RenderPlan(args.frames, test_frames, args.frames_per_room, args.seed)
    height, width = args.size
    intrinsics = Intrinsics.typical(width, height)
    workers = args.workers or usable_cpus()
    catalog = Catalog.open(args.furniture) if args.furniture else None
    bar = progress_bar()
    with PngWriter(args.folder, intrinsics, label_set("nyuv2_40"), _source(args, plan)) as writer:
        done = {name for split, name in plan.frames() if writer.keep(name, split)}
        if done:
            _log.info("goes on: %d frames are there", len(done))
        frames = render_frames(plan, intrinsics, workers, catalog, done)
        for frame in bar(frames, initial=len(done), total=args.frames + test_frames, unit="frame"):
            writer.add(frame.name, frame.image, frame.pose, frame.split)
    print(f"wrote {args.frames} frames for training and {test_frames} for testing into {args.folder}")
    return 0


def _source(args: argparse.Namespace, plan: RenderPlan) -> dict[str, object]:
    """All that the frames follow from."""
    furniture = str(args.furniture.resolve()) if args.furniture else None
    return {"version": __version__, "size": list(args.size), **asdict(plan), "furniture": furniture}
