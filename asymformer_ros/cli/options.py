"""Options that several subcommands share, and what they print about a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asymformer_ros.optional import importing

if TYPE_CHECKING:
    from asymformer_ros.models.bundle import ModelBundle

Subparsers = argparse._SubParsersAction  # argparse has no public name for it


def add_model(parser: argparse.ArgumentParser, kinds: str = "bundle, checkpoint, .onnx file") -> None:
    """Add what `open_model` opens: MODEL, and --label-set, "" for the model's own."""
    parser.add_argument("model", metavar="MODEL", help=f"{kinds}, or a name such as nyuv2 or demo")
    parser.add_argument(
        "--label-set", default="", metavar="SET", help="name or .json file of the classes, in place of the model's own"
    )


def image_size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH, such as 480x640, to (height, width)."""
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no HEIGHTxWIDTH, such as 480x640") from None
    return height, width


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
