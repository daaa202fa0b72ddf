"""What an evaluation found, as files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from asymformer_ros import __version__
from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.evaluation.evaluate import Evaluation
from asymformer_ros.evaluation.picture import confusion_picture
from asymformer_ros.files import write_atomically
from asymformer_ros.models.labels import LabelSet

REPORT_FILE = "report.json"
PICTURE_FILE = "confusion_matrix.png"


@dataclass(frozen=True)
class EvaluationReport:
    """What was evaluated, on what, how, and what came out.

    model, sha256: name and hash of the ModelBundle. backend: what ran it. data: name of the data set. command: that
    repeats it. Raises ConfigurationError where the evaluation's classes and the label set differ in number.
    """

    evaluation: Evaluation
    label_set: LabelSet
    model: str
    sha256: str
    backend: str
    data: str
    split: str
    command: str

    def __post_init__(self) -> None:
        counted = len(self.evaluation.confusion.counts)
        if counted != len(self.label_set):
            raise ConfigurationError(
                f"{counted} classes were counted but {self.label_set.name} has {len(self.label_set)}: give the label "
                "set of the data"
            )

    def to_json(self) -> dict[str, object]:
        """JSON-ready dictionary, what report.json holds. Raises FrameError as `ConfusionMatrix.scores` does."""
        scores = self.evaluation.confusion.scores()
        return {
            **asdict(scores),
            "class_iou": dict(zip(self.label_set.names, scores.class_iou, strict=True)),
            "frames": len(self.evaluation.times),
            "frames_per_second": self.evaluation.frames_per_second,
            "model": {"name": self.model, "sha256": self.sha256},
            "backend": self.backend,
            "data": self.data,
            "split": self.split,
            "command": self.command,
            "package_version": __version__,
        }

    def save(self, folder: Path) -> None:
        """Write the picture and report.json, each whole or not at all, report.json last.

        Raises AsymformerError where they cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1) + "\n"
        picture = confusion_picture(self.evaluation.confusion.counts, self.label_set)
        try:
            write_atomically(folder / PICTURE_FILE, picture)
            write_atomically(folder / REPORT_FILE, text.encode())
        except OSError as error:
            raise AsymformerError(f"cannot write the report to '{folder}': {error.strerror}") from error
