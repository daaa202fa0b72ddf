"""What an evaluation found, as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asymformer_ros import __version__
from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.evaluation.calibration import Reliability
from asymformer_ros.evaluation.confusion import ConfusionMatrix, percent
from asymformer_ros.evaluation.evaluate import Evaluation
from asymformer_ros.evaluation.picture import confusion_picture, reliability_picture
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.system.files import write_atomically

REPORT_FILE = "report.json"
_MIN_CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class EvaluationReport:
    """What was evaluated, on what, how, and what came out.

    model, sha256: name and hash of the ModelBundle. backend: what ran it. data: name of the data set. command: that
    repeats it. settings: what else was chosen, JSON-ready. Raises ConfigurationError where the evaluation's classes and
    the label set differ in number.
    """

    evaluation: Evaluation
    label_set: LabelSet
    model: str
    sha256: str
    backend: str
    data: str
    split: str
    command: str
    settings: Mapping[str, object]

    def __post_init__(self) -> None:
        counted = self.evaluation.num_classes
        if counted != len(self.label_set):
            raise ConfigurationError(
                f"{counted} classes were counted but {self.label_set.name} has {len(self.label_set)}: give the label "
                "set of the data"
            )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary, what report.json holds. Raises FrameError as `ConfusionMatrix.scores` does."""
        evaluation, tally = self.evaluation, self.evaluation.tally
        scores = tally.confusion.scores()
        others = [name for name in evaluation.tallies if evaluation.tallies[name] is not tally]
        return {
            **asdict(scores),
            "class_iou": dict(zip(self.label_set.names, scores.class_iou, strict=True)),
            "frames": evaluation.done,
            "frames_per_second": evaluation.frames_per_second,
            "by_depth": _groups(tally.by_depth),
            "by_camera": _groups(tally.by_camera),
            "missing_depth": _groups({name: evaluation.tallies[name].confusion for name in others}),
            "calibration": _calibration(tally.reliability),
            "model": {"name": self.model, "sha256": self.sha256},
            "backend": self.backend,
            "data": self.data,
            "split": self.split,
            "settings": dict(self.settings),
            "command": self.command,
            "package_version": __version__,
            "confusion_matrix": tally.confusion.counts.tolist(),
        }

    def save(self, folder: Path) -> None:
        """Write report.md, frames.jsonl and the pictures, and then report.json, each whole or not at all.

        Raises AsymformerError where they cannot be written.
        """
        content, tally = self.to_json(), self.evaluation.tally
        frames = "".join(json.dumps(asdict(frame)) + "\n" for frame in tally.frames)
        files = {
            "confusion_matrix.png": confusion_picture(tally.confusion.counts, self.label_set),
            "frames.jsonl": frames.encode(),
            "report.md": "".join(f"{line}\n" for line in markdown(content)).encode(),
            REPORT_FILE: f"{json.dumps(content, indent=1)}\n".encode(),
        }
        if tally.reliability.seen.any():
            files = {"reliability.png": reliability_picture(tally.reliability), **files}
        try:
            for name, data in files.items():
                write_atomically(folder / name, data)
        except OSError as error:
            raise AsymformerError(f"cannot write the report to '{folder}': {error.strerror}") from error


def markdown(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines of report.md, from what report.json holds."""
    yield f"# {report['model']['name']} on {report['data']}, {report['split']}"
    yield ""
    yield f"{report['frames']} frames, {report['frames_per_second']:.1f} a second with {report['backend']}."
    yield ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report["settings"].items()) + "."
    yield ""
    yield from _table("", {"all pixels": report, **report["by_depth"]}, "pixels by depth")
    yield from _table("Cameras", report["by_camera"], "camera")
    yield from _table("Missing depth", report["missing_depth"], "condition")
    yield from _calibration_lines(report["calibration"])
    yield "## Classes"
    yield ""
    yield "| class | IoU, % |"
    yield "|---|---|"
    for name, iou in sorted(report["class_iou"].items(), key=lambda entry: -1 if entry[1] is None else -entry[1]):
        yield f"| {name} | {percent(iou)} |"
    yield ""
    yield "![confusion matrix](confusion_matrix.png)"
    yield ""
    yield f"Repeated by `{report['command']}`"


def _table(title: str, groups: Mapping[str, Any], first: str) -> Iterator[str]:
    if not groups:
        return
    if title:
        yield f"## {title}"
        yield ""
    yield f"| {first} | mean IoU, % | of classes in the data, % | mean accuracy, % | pixel accuracy, % |"
    yield "|---|---|---|---|---|"
    for name, scores in groups.items():
        shares = (scores[key] for key in ("mean_iou", "mean_iou_present", "mean_accuracy", "pixel_accuracy"))
        yield f"| {name} | {' | '.join(percent(share) for share in shares)} |"
    yield ""


def _calibration_lines(calibration: Mapping[str, Any] | None) -> Iterator[str]:
    if calibration is None:
        return
    yield "## Confidence"
    yield ""
    yield f"Expected calibration error: {percent(calibration['ece'])} %."
    yield ""
    yield "| `min_confidence` | pixels that keep their label, % | of which right, % |"
    yield "|---|---|---|"
    for level, kept in calibration["min_confidence"].items():
        yield f"| {level} | {percent(kept['kept'])} | {percent(kept['pixel_accuracy'])} |"
    yield ""
    yield "![reliability](reliability.png)"
    yield ""


def _groups(matrices: Mapping[str, ConfusionMatrix]) -> dict[str, dict[str, object]]:
    """Scores of each matrix that holds anything, without those of the classes."""
    found = {}
    for name, matrix in matrices.items():
        if matrix.counts.any():
            scores = asdict(matrix.scores())
            del scores["class_iou"]
            found[name] = {**scores, "pixels": int(matrix.counts.sum())}
    return found


def _calibration(reliability: Reliability) -> dict[str, object] | None:
    if reliability.ece is None:
        return None
    levels = {level: reliability.above(level) for level in _MIN_CONFIDENCES}
    return {
        "ece": reliability.ece,
        "bins": [asdict(one) for one in reliability.bins()],
        "min_confidence": {
            f"{level:g}": {"kept": kept, "pixel_accuracy": right} for level, (kept, right) in levels.items()
        },
    }
