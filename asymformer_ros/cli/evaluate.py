"""`asymformer evaluate`: how good a model is on a labelled data set."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import NODE, add_frames, add_model, image_size, open_frames, progress_bar
from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.inference.choices import BACKENDS, DEVICES, SERVED_PRECISIONS
from asymformer_ros.models.sizes import size_name
from asymformer_ros.optional import installed

if TYPE_CHECKING:
    from asymformer_ros.cli.evaluated import Evaluated
    from asymformer_ros.datasets import DataSet
    from asymformer_ros.evaluation.depth_loss import Condition
    from asymformer_ros.evaluation.evaluate import Evaluation
    from asymformer_ros.evaluation.progress import Progress
    from asymformer_ros.evaluation.report import EvaluationReport

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a model over a labelled data set as a node would, and write its IoU, accuracy, calibration "
        "and speed. The same command again goes on where it was interrupted."
    )
    add_model(parser, optional=True)
    add_frames(parser)
    parser.add_argument("--backend", choices=(*BACKENDS, NODE), default="auto", help="what runs it (default: auto)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="of PyTorch (default: auto)")
    parser.add_argument(
        "--precision",
        choices=[precision for precision in SERVED_PRECISIONS if precision != "auto"],
        default="fp16",
        help="of an engine the first to try; bf16 and int8 are for CPUs, which else compute in fp32 (default: fp16)",
    )
    parser.add_argument("--input-size", type=image_size, metavar="HxW", help="in place of the model's own")
    parser.add_argument(
        "--multi-scale",
        action="store_true",
        help="sum the scores of the input size, 1.2 and 1.4 times it, as published",
    )
    parser.add_argument("--flip", action="store_true", help="sum the scores of the mirrored frame, too")
    parser.add_argument(
        "--depth-dropout", type=_shares, default=(), metavar="F,F", help="again with these shares of depth missing"
    )
    parser.add_argument("--depth-holes", type=Path, metavar="DIR", help="again with the holes of these depth images")
    parser.add_argument("-o", "--output", type=Path, metavar="REPORT", help="folder for the report")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A", "B"), help="only tell where two report.json differ"
    )
    parser.set_defaults(run=run)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of shares, such as 0,0.25,0.5,1") from None


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError, FrameError, CheckpointError or BackendError, as opening and evaluating do."""
    if args.compare:
        from asymformer_ros.evaluation.compare import compare

        print("\n".join(compare(*args.compare)))
        return 0
    from asymformer_ros.cli.evaluated import evaluated
    from asymformer_ros.evaluation.evaluate import Evaluation, require_same_classes
    from asymformer_ros.evaluation.report import REPORT_FILE

    _check(args)
    bar = progress_bar()
    data, conditions = open_frames(args), _conditions(args)
    frames = range(min(len(data), args.limit or len(data)))
    with evaluated(args) as served:
        require_same_classes(served.card.label_set, data.label_set)
        evaluation, progress = Evaluation(len(data.label_set), conditions), _progress(args, served, data)
        progress.resume(evaluation, len(frames))
        with (
            progress.kept(evaluation),
            bar(total=len(frames), initial=evaluation.done, desc=served.name(), unit="frame") as shown,
        ):
            for _ in evaluation.run(served.segmenter, data, frames[evaluation.done :]):
                shown.update()
                progress.save_now_and_then(evaluation)
        report = _report(args, served, data, evaluation)
        print("\n".join(_table(report)))  # before the files: where they cannot be written, the scores are not lost
        report.save(args.output)
        progress.remove()
        print(f"wrote {args.output / REPORT_FILE}")
        _write_page(report, served, data, args.output)
    return 0


def _write_page(report: EvaluationReport, served: Evaluated, data: DataSet, folder: Path) -> None:
    if not installed("jinja2"):
        _log.warning("no page of the frames is made: jinja2 is not installed here")
        return
    from asymformer_ros.evaluation.page.report import PAGE_FILE, report_page

    try:
        report_page(report, served.segmenter, data).save(folder / PAGE_FILE)
    except OSError as error:
        raise AsymformerError(f"cannot write '{folder / PAGE_FILE}': {error.strerror}") from error
    print(f"wrote {folder / PAGE_FILE}")


def _check(args: argparse.Namespace) -> None:
    missing = [name for name, value in (("MODEL", args.model), ("--data", args.data), ("-o", args.output)) if not value]
    if missing:
        raise ConfigurationError(
            f"evaluate needs {', '.join(missing)} (or --compare A B): see `asymformer evaluate -h`"
        )
    if args.output.exists() and not args.output.is_dir():
        raise ConfigurationError(f"--output {args.output} is a file: give a folder for the report")


def _conditions(args: argparse.Namespace) -> list[Condition]:
    from asymformer_ros.evaluation.depth_loss import AS_IT_IS, dropout, holes_of

    holes = [holes_of(args.depth_holes)] if args.depth_holes else []
    return [AS_IT_IS, *(dropout(share) for share in args.depth_dropout), *holes]


def _progress(args: argparse.Namespace, served: Evaluated, data: DataSet) -> Progress:
    from asymformer_ros.evaluation.progress import Progress

    identity = {
        "model": served.model_sha256,
        "backend": args.backend,
        "data": data.fingerprint,
        "frames": list(data.frame_names),
        "classes": data.label_set.to_json(),
        "settings": _settings(args, served),
        "missing depth": [condition.name for condition in _conditions(args)],
    }
    return Progress(args.output, identity)


def _settings(args: argparse.Namespace, served: Evaluated) -> dict[str, object]:
    chosen = {"hold_out": args.hold_out, "classes": args.classes and str(args.classes)}
    return {
        "input_size": list(served.card.input_size),
        "temperature": served.card.temperature,
        **{name: value for name, value in chosen.items() if value is not None},
        **served.settings,
    }


def _report(args: argparse.Namespace, served: Evaluated, data: DataSet, evaluation: Evaluation) -> EvaluationReport:
    from asymformer_ros.evaluation.report import EvaluationReport

    return EvaluationReport(
        evaluation=evaluation,
        label_set=data.label_set,
        model=served.card.name,
        sha256=served.model_sha256,
        backend=served.name(),
        data=data.name,
        split=args.split if args.hold_out is None else "train, held out",
        command=_command(args),
        settings=_settings(args, served),
    )


def _command(args: argparse.Namespace) -> str:
    """The command with all that it took by default."""
    given = [
        ("--label-set", args.label_set),
        ("--precision", args.precision if args.precision != "fp16" else ""),
        ("--limit", args.limit),
        ("--classes", args.classes),
        ("--hold-out", args.hold_out),
        ("--input-size", args.input_size and size_name(args.input_size)),
        ("--depth-dropout", ",".join(f"{share:g}" for share in args.depth_dropout)),
        ("--depth-holes", args.depth_holes),
    ]
    options = ["--backend", args.backend, "--device", args.device, "--split", args.split]
    options += [word for name, value in given if value for word in (name, str(value))]
    options += [f"--{name}" for name in ("multi-scale", "flip") if getattr(args, name.replace("-", "_"))]
    words = ["asymformer", "evaluate", args.model, "--data", str(args.data), *options, "-o", str(args.output)]
    return shlex.join(words)


def _table(report: EvaluationReport) -> Iterator[str]:
    from asymformer_ros.evaluation.confusion import percent

    content = report.to_json()
    rows = [*content["class_iou"].items(), ("mean IoU", content["mean_iou"])]
    rows += [("mean IoU of classes in the data", content["mean_iou_present"])]
    rows += [(name.replace("_", " "), content[name]) for name in ("mean_accuracy", "pixel_accuracy")]
    for group in ("by_depth", "by_camera", "missing_depth"):
        rows += [(f"mean IoU present, {name}", scores["mean_iou_present"]) for name, scores in content[group].items()]
    if content["calibration"]:
        rows += [("expected calibration error", content["calibration"]["ece"])]
    width = max(len(name) for name, _ in rows)
    yield f"{'class':{width}}  IoU, %"
    for name, share in rows:
        yield f"{name:{width}}  {percent(share):>6}"
    speed = f"{content['frames']} frames, {content['frames_per_second']:.1f} a second"
    yield f"{report.model}, {report.backend}: {speed}"
