"""`asymformer convert`: the authors' checkpoint to a model bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from asymformer_ros.cli.options import Subparsers, describe_written, image_size


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "convert", help="make a model bundle from a checkpoint", description="Make a model bundle from a checkpoint."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="published .pth file, of any release")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=".safetensors file to write")
    parser.add_argument(
        "--label-set", required=True, help="classes of the weights: nyuv2_40, nyuv2_13, sunrgbd_37 or a .json file"
    )
    parser.add_argument("--name", help="name of the model (default: the checkpoint's file name)")
    parser.add_argument(
        "--input-size", type=image_size, default=(480, 640), metavar="HxW", help="height x width (default: 480x640)"
    )
    parser.add_argument(
        "--normalization",
        choices=("published", "imagenet"),
        default="published",
        help="RGB means that the weights were trained with (default: published)",
    )
    parser.add_argument("--half", action="store_true", help="store the weights in FP16: half the size")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError or ConfigurationError, as `load_checkpoint` and `ModelBundle` do."""
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.card import IMAGENET_NORMALIZATION, ModelCard
    from asymformer_ros.models.labels import read_label_set
    from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
    from asymformer_ros.network import load_checkpoint

    card = ModelCard(
        name=args.name or args.checkpoint.stem,
        label_set=read_label_set(args.label_set),
        normalization=PUBLISHED_NORMALIZATION if args.normalization == "published" else IMAGENET_NORMALIZATION,
        input_size=args.input_size,
        provenance=f"converted from {args.checkpoint.name}",
    )
    ModelBundle(card, load_checkpoint(args.checkpoint)).save(args.bundle, half=args.half)
    print(describe_written(args.bundle, ModelBundle.load(args.bundle)))
    return 0
