"""What is counted of frames that were segmented under one condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets import LabelledFrame
from asymformer_ros.errors import FrameError
from asymformer_ros.evaluation.calibration import Reliability
from asymformer_ros.evaluation.confusion import ConfusionMatrix, count_pixels
from asymformer_ros.inference.segmentation import Segmentation

DEPTH_RANGES = {"0-2 m": 0.0, "2-4 m": 2.0, "4+ m": 4.0}
"""Metres from which each begins."""

UNKNOWN_DEPTH = "unknown"


@dataclass(frozen=True)
class FrameScore:
    """Of one frame: share of its pixels that are right, and mean IoU over its own classes; None without any label."""

    name: str
    pixel_accuracy: float | None
    mean_iou: float | None


@dataclass
class Tally:
    """Counts over frames: of all pixels, by depth, by camera and by confidence, and the scores of each frame.

    by_camera is empty where the data set does not say which camera a frame is from.
    """

    num_classes: int
    confusion: ConfusionMatrix = field(init=False)
    by_depth: dict[str, ConfusionMatrix] = field(init=False)
    by_camera: dict[str, ConfusionMatrix] = field(init=False, default_factory=dict)
    reliability: Reliability = field(init=False, default_factory=Reliability)
    frames: list[FrameScore] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.confusion = ConfusionMatrix(self.num_classes)
        self.by_depth = {name: ConfusionMatrix(self.num_classes) for name in (*DEPTH_RANGES, UNKNOWN_DEPTH)}

    def add(self, name: str, labelled: LabelledFrame, answer: Segmentation, camera: str = "") -> None:
        """Count one frame. camera: what took it, "" where that is not known.

        Raises FrameError where truth and answer cannot be compared.
        """
        groups, one = _ranges(labelled.frame.depth), ConfusionMatrix(self.num_classes)
        counts = count_pixels(labelled.labels, answer.labels, self.num_classes, groups, len(self.by_depth))
        one.counts = counts.sum(axis=0)
        self.confusion.counts += one.counts
        for matrix, inside in zip(self.by_depth.values(), counts, strict=True):
            matrix.counts += inside
        if camera:
            self.by_camera.setdefault(camera, ConfusionMatrix(self.num_classes)).counts += one.counts
        if answer.confidence is not None:
            self.reliability.add(labelled.labels, answer.labels, answer.confidence)
        self.frames.append(_frame_score(name, one))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, for `from_json`."""
        return {
            "by_depth": {name: matrix.counts.tolist() for name, matrix in self.by_depth.items()},
            "by_camera": {name: matrix.counts.tolist() for name, matrix in self.by_camera.items()},
            "seen": self.reliability.seen.tolist(),
            "right": self.reliability.right.tolist(),
            "frames": [asdict(frame) for frame in self.frames],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any], num_classes: int) -> Tally:
        """Inverse of `to_json`. Raises ValueError, KeyError or TypeError for anything else."""
        tally = Tally(num_classes)
        for name, counts in data["by_depth"].items():
            tally.by_depth[name].counts += np.array(counts)
            tally.confusion.counts += np.array(counts)
        for name, counts in data["by_camera"].items():
            tally.by_camera[name] = ConfusionMatrix(num_classes)
            tally.by_camera[name].counts += np.array(counts)
        tally.reliability = Reliability(np.array(data["seen"], np.int64), np.array(data["right"], np.int64))
        tally.frames = [FrameScore(**frame) for frame in data["frames"]]
        return tally


def _ranges(depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Of each pixel the number of its range in DEPTH_RANGES, behind them that of UNKNOWN_DEPTH."""
    _, *later = DEPTH_RANGES.values()
    found = np.zeros(depth.shape, np.uint8)
    for start in later:
        found += depth >= start
    found[np.isnan(depth)] = len(DEPTH_RANGES)
    return found


def _frame_score(name: str, one: ConfusionMatrix) -> FrameScore:
    try:
        scores = one.scores()
    except FrameError:  # nothing is labelled in it
        return FrameScore(name, None, None)
    return FrameScore(name, scores.pixel_accuracy, scores.mean_iou_present)
