"""`asymformer convert`: the authors' checkpoint to a model bundle."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asymformer_ros.cli.options import describe_written, image_size, image_sizes
from asymformer_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from asymformer_ros.models.bundle import ModelBundle

_NORMALIZATIONS = ("published", "imagenet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a model bundle from a checkpoint."
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="published .pth file, of any release; or a bundle, of which all is kept that no option changes",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=".safetensors file to write")
    parser.add_argument(
        "--label-set", help="classes of a checkpoint's weights: nyuv2_40, nyuv2_13, sunrgbd_37 or a .json file"
    )
    parser.add_argument("--name", help="name of the model (default: the checkpoint's file name)")
    parser.add_argument(
        "--input-size", type=image_size, metavar="HxW", help="height x width (default: 480x640, or the bundle's)"
    )
    parser.add_argument(
        "--input-sizes",
        type=image_sizes,
        metavar="HxW,HxW",
        help="other sizes that a node with `input_size: auto` may take (default: down to half the input size)",
    )
    parser.add_argument(
        "--normalization",
        choices=_NORMALIZATIONS,
        help="RGB means that the weights were trained with (default: published, or the bundle's)",
    )
    parser.add_argument("--half", action="store_true", help="store the weights in FP16: half the size")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError or ConfigurationError, as `load_checkpoint` and `ModelBundle` do."""
    from asymformer_ros.models.bundle import ModelBundle, holds_bundle
    from asymformer_ros.models.card import IMAGENET_NORMALIZATION
    from asymformer_ros.models.labels import read_label_set
    from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION

    bundle = ModelBundle.load(args.checkpoint) if holds_bundle(args.checkpoint) else _from_checkpoint(args)
    given: dict[str, Any] = {"name": args.name, "input_size": args.input_size, "input_sizes": args.input_sizes}
    if args.label_set:
        given["label_set"] = read_label_set(args.label_set)
    if args.normalization:
        means = {"published": PUBLISHED_NORMALIZATION, "imagenet": IMAGENET_NORMALIZATION}
        given["normalization"] = means[args.normalization]
    card = replace(bundle.card, **{key: value for key, value in given.items() if value is not None})
    ModelBundle(card, bundle.network).save(args.bundle, half=args.half)
    print(describe_written(args.bundle, ModelBundle.load(args.bundle)))
    return 0


def _from_checkpoint(args: argparse.Namespace) -> ModelBundle:
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.card import ModelCard
    from asymformer_ros.models.labels import read_label_set
    from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
    from asymformer_ros.network import load_checkpoint

    if not args.label_set:
        raise ConfigurationError(
            f"{args.checkpoint} does not say what its classes are called: give --label-set, such as nyuv2_40"
        )
    card = ModelCard(
        args.checkpoint.stem,
        read_label_set(args.label_set),
        PUBLISHED_NORMALIZATION,
        provenance=f"converted from {args.checkpoint.name}",
    )
    return ModelBundle(card, load_checkpoint(args.checkpoint))
