"""Options that several subcommands share, and what they print about a model."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asymformer_ros.models.sizes import read_size
from asymformer_ros.optional import importing

if TYPE_CHECKING:
    from asymformer_ros.datasets import DataSet
    from asymformer_ros.models.bundle import ModelBundle

NODE = "node"
"""What --backend is for a segmentation node of its own."""

_log = logging.getLogger(__name__)


def add_model(
    parser: argparse.ArgumentParser, kinds: str = "bundle, checkpoint, .onnx file", *, optional: bool = False
) -> None:
    """Add what `open_model` opens: MODEL, and --label-set, "" for the model's own."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?" if optional else None,
        help=f"{kinds}, or a name such as nyuv2 or demo",
    )
    parser.add_argument(
        "--label-set", default="", metavar="SET", help="name or .json file of the classes, in place of the model's own"
    )


def add_frames(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add the options that `open_frames` reads, and --limit."""
    parser.add_argument("--data", type=Path, required=required, metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="JSON: the model's classes from the data's, as for `train`"
    )
    parser.add_argument("--split", default="test", help="of the data set: train or test (default: test)")
    parser.add_argument(
        "--hold-out", type=float, metavar="F", help="frames that `train --hold-out F` leaves out, in place of a split"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N frames")


def open_frames(args: argparse.Namespace) -> DataSet:
    """The labelled frames that --data, --split, --hold-out and --classes ask for.

    Raises ConfigurationError or FrameError where there are none such.
    """
    from asymformer_ros.datasets import hold_out, in_both_splits, open_data_set
    from asymformer_ros.datasets.classes import Mapped, read_class_map

    if args.hold_out is None:
        data = open_data_set(args.data, args.split)
        if both := in_both_splits(args.data):
            _log.warning(
                "%d frames are in both splits of %s, such as %s: what was trained on them is tested on them",
                len(both),
                data.name,
                both[0],
            )
    else:
        data = hold_out(open_data_set(args.data, "train"), args.hold_out)[1]
    return Mapped(data, read_class_map(args.classes, [data.label_set])) if args.classes else data


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames: give 1 or more")
    return int(text)


def image_size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH, such as 480x640, to (height, width)."""
    try:
        return read_size(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no HEIGHTxWIDTH, such as 480x640") from None


def image_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Several of `image_size`, with commas between them."""
    return tuple(image_size(one) for one in text.split(","))


def progress_bar() -> Callable[..., Any]:
    """tqdm's class, which updates a terminal often and a log seldom. Raises DependencyError where it is missing."""
    with importing("tqdm", "the progress bar"):
        from tqdm import tqdm
    return partial(tqdm, mininterval=0.1 if sys.stderr.isatty() else 10.0)


def describe_written(path: Path, bundle: ModelBundle) -> str:
    """Two lines about a bundle that was written and read again."""
    card, config = bundle.card, bundle.network.config
    millions = sum(parameter.numel() for parameter in bundle.network.parameters()) / 1e6
    height, width = card.input_size
    return (
        f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)\n"
        f"{card.name}: {config.num_classes} classes ({card.label_set.name}), {millions:.2f} M parameters, "
        f"input {height}x{width} (height x width), sha256 {bundle.sha256[:12]}"
    )
