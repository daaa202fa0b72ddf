"""`asymformer untrained`: a model bundle with random weights, to try everything around the network."""

from __future__ import annotations

import argparse
from pathlib import Path

from asymformer_ros.cli.options import describe_written, image_size
from asymformer_ros.models.sizes import INPUT_SIZES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a model bundle with random weights, to try everything around the network. Its labels mean nothing."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=".safetensors file to write")
    parser.add_argument(
        "--size",
        choices=tuple(INPUT_SIZES),
        default="full",
        help="the published network or a smaller one (default: full)",
    )
    parser.add_argument(
        "--label-set", default="nyuv2_40", help="nyuv2_40 (default), nyuv2_13, sunrgbd_37 or a .json file"
    )
    parser.add_argument("--input-size", type=image_size, metavar="HxW", help="height x width (default: that of --size)")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default: 0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError or ConfigurationError, as `ModelBundle` does."""
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.labels import read_label_set
    from asymformer_ros.network import CONFIGS

    size = args.input_size or INPUT_SIZES[args.size]
    bundle = ModelBundle.untrained(CONFIGS[args.size], read_label_set(args.label_set), args.seed, size)
    bundle.save(args.bundle)
    print(describe_written(args.bundle, bundle))
    return 0
