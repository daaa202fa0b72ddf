"""`asymformer precision`: which layers of a model may run in FP16."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import add_model

if TYPE_CHECKING:
    from asymformer_ros.onnx_graph.report import Layer, PrecisionReport

_LARGEST = 5
_FLAGGED = ("weights", "values")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Look at a model's weights, and at its activations over frames, and say which layers may run in "
        "FP16 and which must stay in FP32."
    )
    add_model(parser)
    parser.add_argument("--frames", type=Path, metavar="DIR", help="recorded folder (default: four simulated rooms)")
    parser.add_argument("--count", type=int, default=8, help="frames to run, spread over the recording (default: 8)")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="report to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError, ConfigurationError or FrameError, as `open_model` and `analyse_model` do."""
    from asymformer_ros.engine.frames import SIMULATED, sample_frames
    from asymformer_ros.engine.source import analyse_model
    from asymformer_ros.models.opening import open_model

    frames = sample_frames(args.frames, args.count)
    model = open_model(args.model, label_set=args.label_set)
    report = analyse_model(model, frames, args.frames.name if args.frames else SIMULATED)
    print("\n".join(_table(model.card.name, report)))
    if args.frames is None:
        print("These frames are simulated: before you rely on FP16, give --frames with a recording of your camera.")
    if args.output:
        report.save(args.output)
        print(f"wrote {args.output}")
    return 0


def _table(name: str, report: PrecisionReport) -> Iterator[str]:
    kept = {layer: report.layers[layer] for layer in report.fp32_layers}
    yield f"{name}, {report.frames} frames ({report.source}): {len(kept)} of {len(report.layers)} layers stay in FP32"
    for reason, count in Counter(
        layer.reason.split(" reach")[0].split(" change")[0] for layer in kept.values()
    ).items():
        yield f"  {count:4} {_EXPLAINED.get(reason, reason)}"
    flagged = {name: layer for name, layer in kept.items() if layer.reason.startswith(_FLAGGED)}
    largest = sorted(report.layers.items(), key=lambda entry: -entry[1].values.max_abs)[:_LARGEST]
    yield from _layers("flagged layers", list(flagged.items()))
    yield from _layers("largest values", largest)
    yield from _weights(report)


_EXPLAINED = {"weights": "weights that FP16 cannot hold", "values": "values that FP16 cannot hold"}


def _layers(title: str, layers: list[tuple[str, Layer]]) -> Iterator[str]:
    if not layers:
        return
    width = max(len(name) for name, _ in layers)
    yield f"{title:{width}}  largest   smallest  lost     rounding  reason to stay in FP32"
    for name, layer in layers:
        seen = layer.values
        numbers = f"{seen.max_abs:<8.3g}  {seen.min_abs:<8.2g}  {seen.underflow:<7.2%}  {seen.half_error:<8.1e}"
        yield f"{name:{width}}  {numbers}  {layer.reason or '-'}"


def _weights(report: PrecisionReport) -> Iterator[str]:
    from asymformer_ros.onnx_graph.half import HALF_MAX

    for text, share in (
        (f"beyond {HALF_MAX:.0f}", lambda weight: weight.values.overflow),
        ("below 1e-7", lambda weight: weight.tiny),
        ("changed by more than 1e-3 of their size", lambda weight: weight.changed),
    ):
        tensors = {name: share(weight) for name, weight in report.weights.items() if share(weight)}
        worst = max(tensors, key=lambda name: tensors[name], default="")
        most = f", most in {worst} ({tensors[worst]:.2%})" if worst else ""
        yield f"weights {text}: in {len(tensors)} of {len(report.weights)} tensors{most}"
