"""`asymformer export`: a model bundle to an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import add_model, image_size
from asymformer_ros.onnx_graph.names import EXPORT_TARGETS, EXPORTED_OUTPUTS, EXPORTED_PRECISIONS

if TYPE_CHECKING:
    from asymformer_ros.models.model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make an ONNX file from a model: camera images in, labels out, for ONNX Runtime and TensorRT."
    add_model(parser, "bundle, checkpoint")
    parser.add_argument("onnx", type=Path, metavar="OUT", help=".onnx file to write")
    parser.add_argument("--size", type=image_size, metavar="HxW", help="height x width (default: the model's)")
    parser.add_argument("--batch", type=int, default=1, help="images at a time (default: 1)")
    parser.add_argument(
        "--classes-out",
        choices=EXPORTED_OUTPUTS,
        default="labels",
        help="labels and confidence, one byte per pixel each, or float class scores at stride 4 (default: labels)",
    )
    parser.add_argument(
        "--target",
        choices=EXPORT_TARGETS,
        default="any",
        help="cpu: for ONNX Runtime on a CPU alone, with --classes-out logits4; it is faster there (default: any)",
    )
    parser.add_argument(
        "--precision",
        choices=EXPORTED_PRECISIONS,
        default="fp32",
        help="mixed: FP16 but for the layers that the report keeps in FP32 (default: fp32)",
    )
    parser.add_argument("--half", action="store_true", help="store the weights in FP16, compute in FP32: half the size")
    parser.add_argument("--report", type=Path, metavar="JSON", help="of `asymformer precision`; mixed needs it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError or ConfigurationError, as `open_bundle`, `export_model` and `PrecisionReport.load` do."""
    from dataclasses import replace

    from asymformer_ros.engine.disk import writing_temporarily
    from asymformer_ros.engine.golden import add_golden, answer_golden
    from asymformer_ros.errors import CheckpointError, ConfigurationError
    from asymformer_ros.inference.torch import TorchBackend
    from asymformer_ros.models.export import ExportOptions, export_model, write_model
    from asymformer_ros.models.model import Model
    from asymformer_ros.models.opening import open_bundle, open_model
    from asymformer_ros.onnx_graph.mixed import to_mixed
    from asymformer_ros.onnx_graph.report import PrecisionReport
    from asymformer_ros.onnx_graph.storage import store_half

    if args.model.lower().endswith(".onnx"):
        raise CheckpointError(f"{args.model} is an ONNX file already: export takes the bundle that it was made of")
    if (args.precision == "mixed") != (args.report is not None):
        raise ConfigurationError(
            "--precision mixed and --report belong together: make a report with "
            f"`asymformer precision {args.model} -o precision.json`"
        )
    if args.target == "cpu" and args.precision == "mixed":
        raise ConfigurationError("a graph for CPUs is in fp32: leave --precision mixed away")
    if args.half and args.precision == "mixed":
        raise ConfigurationError("mixed precision stores FP16 already: leave --half away")
    options = ExportOptions(input_size=args.size, batch=args.batch, outputs=args.classes_out, target=args.target)
    bundle = open_bundle(args.model, args.label_set)
    with writing_temporarily():
        model = export_model(bundle, options)
    sized = replace(bundle, card=replace(bundle.card, input_size=args.size or bundle.card.input_size))
    reference = TorchBackend.open(Model(Path(args.model), sized.card, bundle=sized), "cpu")
    add_golden(model, answer_golden(reference, sized.card.input_size))
    if args.report is not None:
        report = PrecisionReport.load(args.report)
        report.check_model(bundle.sha256)
        model = to_mixed(model, report.fp32_layers)
    write_model(store_half(model) if args.half else model, args.onnx)
    print(_describe(open_model(str(args.onnx))))
    return 0


def _describe(model: Model) -> str:
    """Two lines about a file that was written and read again."""
    height, width = model.card.input_size
    return (
        f"wrote {model.path} ({model.path.stat().st_size / 1e6:.1f} MB)\n"
        f"{model.card.name}: {', '.join(model.signature.outputs)} of {len(model.card.label_set)} classes "
        f"({model.card.label_set.name}), batch {model.batch}, input {height}x{width} (height x width), "
        f"{model.precision}, sha256 {model.sha256[:12]}"
    )
