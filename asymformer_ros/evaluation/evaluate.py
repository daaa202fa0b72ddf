"""Runs a segmenter over a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from asymformer_ros.datasets import DataSet
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.confusion import ConfusionMatrix
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.labels import LabelSet

WARM_UP = 3
"""Times that the first frame is segmented before anything counts."""


@dataclass(frozen=True)
class Evaluation:
    """Counts over all frames, and the segmenter's total time for each, in milliseconds."""

    confusion: ConfusionMatrix
    times: tuple[float, ...]

    @property
    def frames_per_second(self) -> float:
        """Of the median frame; reading files is not part of it."""
        return 1e3 / median(self.times)


def evaluate(segmenter: Segmenter, data: DataSet, indices: Iterable[int]) -> Evaluation:
    """Compare the labels that a node would publish, in the frame's own size, with the true ones, for these frames.

    Raises ConfigurationError where the model's classes are not the data set's, or there are no frames; FrameError where
    one cannot be read, BackendError where the model fails.
    """
    require_same_classes(segmenter.backend.card.label_set, data.label_set)
    confusion, times = ConfusionMatrix(len(data.label_set)), list[float]()
    for index in indices:
        labelled = data[index]
        for _ in range(0 if times else WARM_UP):
            segmenter.segment(labelled.frame)
        segmentation = segmenter.segment(labelled.frame)
        confusion.add(labelled.labels, segmentation.labels)
        times.append(segmentation.times.total)
    if not times:
        raise ConfigurationError(f"no frames of {data.name} to evaluate")
    return Evaluation(confusion, tuple(times))


def require_same_classes(model: LabelSet, data: LabelSet) -> None:
    """Raise ConfigurationError, saying what differs, where two label sets do not have the same names in order."""
    if model.names == data.names:
        return
    pairs = enumerate(zip(model.names, data.names, strict=False))
    different = (f": class {at} is {ours} and {theirs}" for at, (ours, theirs) in pairs if ours != theirs)
    raise ConfigurationError(
        f"the model has the classes of {model.name} ({len(model)}) but the data set those of {data.name} ({len(data)})"
        f"{next(different, '')}; take a model and a data set of the same classes"
    )
