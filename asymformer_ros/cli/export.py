"""`asymformer export`: a model bundle to an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import Subparsers, image_size

if TYPE_CHECKING:
    from asymformer_ros.onnx_model import OnnxModel


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "export",
        help="make an ONNX file from a model",
        description="Make an ONNX file from a model: camera images in, labels out, for ONNX Runtime and TensorRT.",
    )
    parser.add_argument("model", metavar="MODEL", help="model bundle, `untrained` or `untrained_full`")
    parser.add_argument("onnx", type=Path, metavar="OUT", help=".onnx file to write")
    parser.add_argument("--size", type=image_size, metavar="HxW", help="height x width (default: the model's)")
    parser.add_argument("--batch", type=int, default=1, help="images at a time (default: 1)")
    parser.add_argument(
        "--classes-out",
        choices=("labels", "logits"),
        default="labels",
        help="labels and confidence, one byte per pixel each, or float logits (default: labels)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError or ConfigurationError, as `open_model` and `export_model` do."""
    from asymformer_ros.engine.export import ExportOptions, export_model, write_model
    from asymformer_ros.models import open_model
    from asymformer_ros.onnx_model import OnnxModel

    options = ExportOptions(input_size=args.size, batch=args.batch, outputs=args.classes_out)
    write_model(export_model(open_model(args.model), options), args.onnx)
    print(_describe(OnnxModel.open(args.onnx)))
    return 0


def _describe(model: OnnxModel) -> str:
    """Two lines about a file that was written and read again."""
    height, width = model.card.input_size
    return (
        f"wrote {model.path} ({model.path.stat().st_size / 1e6:.1f} MB)\n"
        f"{model.card.name}: {', '.join(model.outputs)} of {len(model.card.label_set)} classes "
        f"({model.card.label_set.name}), batch {model.batch}, input {height}x{width} (height x width), "
        f"{model.precision}, sha256 {model.sha256[:12]}"
    )
