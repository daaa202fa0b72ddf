"""`asymformer evaluate`: how good a model is on a labelled data set."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import Subparsers, add_model, progress_bar
from asymformer_ros.datasets import SPLITS, DataSet, open_data_set
from asymformer_ros.datasets.classes import Mapped, read_class_map
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.evaluate import evaluate
from asymformer_ros.inference.backend import BACKENDS, DEVICES, InferenceBackend
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.selection import ServingOptions, open_serving

if TYPE_CHECKING:
    from asymformer_ros.evaluation.report import EvaluationReport


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model's mIoU on a labelled data set",
        description="Run a model over a labelled data set as a node would, and write its IoU, accuracy and speed.",
    )
    add_model(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="JSON: the model's classes from the data's, as for `train`"
    )
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="what runs it (default: auto)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="of PyTorch (default: auto)")
    parser.add_argument("--split", choices=SPLITS, default="test", help="of the data set (default: test)")
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N frames of the split")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="REPORT", help="folder for the report")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames: give 1 or more")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError, FrameError, CheckpointError or BackendError, as opening and evaluating do."""
    from asymformer_ros.evaluation.report import REPORT_FILE

    if args.output.exists() and not args.output.is_dir():
        raise ConfigurationError(f"--output {args.output} is a file: give a folder for the report")
    bar = progress_bar()
    data = _open_data(args)
    count = min(len(data), args.limit or len(data))
    with (
        closing(open_serving(args.model, serving_options(args))) as backend,
        bar(range(count), backend.name, unit="frame") as frames,
    ):
        report = _evaluate(args, backend, data, frames)
    print("\n".join(_table(report)))  # before the files: where they cannot be written, the scores are not lost
    report.save(args.output)
    print(f"wrote {args.output / REPORT_FILE}")
    return 0


def _evaluate(
    args: argparse.Namespace, backend: InferenceBackend, data: DataSet, frames: Iterable[int]
) -> EvaluationReport:
    from asymformer_ros.evaluation.report import EvaluationReport

    return EvaluationReport(
        evaluation=evaluate(Segmenter(backend), data, frames),
        label_set=data.label_set,
        model=backend.card.name,
        sha256=backend.model_sha256,
        backend=backend.name,
        data=data.name,
        split=args.split,
        command=_command(args),
    )


def _open_data(args: argparse.Namespace) -> DataSet:
    data = open_data_set(args.data, args.split)
    return Mapped(data, read_class_map(args.classes, [data.label_set])) if args.classes else data


def serving_options(args: argparse.Namespace) -> ServingOptions:
    """As a node's, but "auto" waits for the engine: one backend is to answer for all frames."""
    return ServingOptions(args.backend, args.device, args.label_set, wait=True)


def _command(args: argparse.Namespace) -> str:
    """The command with all that it took by default."""
    given = [("--label-set", args.label_set), ("--limit", args.limit), ("--classes", args.classes)]
    options = ["--backend", args.backend, "--device", args.device, "--split", args.split]
    options += [word for name, value in given if value for word in (name, str(value))]
    words = ["asymformer", "evaluate", args.model, "--data", str(args.data), *options, "-o", str(args.output)]
    return shlex.join(words)


def _table(report: EvaluationReport) -> Iterator[str]:
    scores, evaluation = report.evaluation.confusion.scores(), report.evaluation
    width = max(len(name) for name in (*report.label_set.names, "mean IoU of classes in the data"))
    yield f"{'class':{width}}  IoU, %"
    for name, iou in zip(report.label_set.names, scores.class_iou, strict=True):
        yield f"{name:{width}}  {'     -' if iou is None else f'{iou * 100:6.2f}'}"
    for name, share in (
        ("mean IoU", scores.mean_iou),
        ("mean IoU of classes in the data", scores.mean_iou_present),
        ("mean accuracy", scores.mean_accuracy),
        ("pixel accuracy", scores.pixel_accuracy),
    ):
        yield f"{name:{width}}  {share * 100:6.2f}"
    speed = f"{len(evaluation.times)} frames, {evaluation.frames_per_second:.1f} a second"
    yield f"{report.model}, {report.backend}: {speed}"
