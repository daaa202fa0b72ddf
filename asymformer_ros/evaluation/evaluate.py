"""Runs a segmenter over a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from asymformer_ros.datasets import DataSet
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.depth_loss import AS_IT_IS, Condition
from asymformer_ros.evaluation.tally import Tally
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.models.labels import LabelSet

WARM_UP = 3
"""Times that the first frame is segmented before anything counts."""

TIMED = 50
"""Frames that are segmented a second time, without confidence, which a node computes only where it is asked for."""


class Segments(Protocol):
    """What is evaluated: a Segmenter, or something that answers like one."""

    def segment(self, frame: RgbdFrame, *, with_confidence: bool = False) -> Segmentation:
        """Labels, and confidence where it is asked for, in the frame's size. Raises BackendError."""


@dataclass
class Evaluation:
    """Counts over frames under each condition, the first being AS_IT_IS, and milliseconds of each timed frame.

    is_whole: False while a frame is being counted.
    """

    num_classes: int
    conditions: Sequence[Condition] = (AS_IT_IS,)
    tallies: dict[str, Tally] = field(init=False)
    times: list[float] = field(init=False, default_factory=list)
    is_whole: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self.tallies = {condition.name: Tally(self.num_classes) for condition in self.conditions}

    @property
    def tally(self) -> Tally:
        """Of the frames as they are."""
        return self.tallies[AS_IT_IS.name]

    @property
    def done(self) -> int:
        """How many frames have been counted."""
        return len(self.tally.frames)

    @property
    def frames_per_second(self) -> float:
        """Of the median timed frame; reading files is not part of it."""
        return 1e3 / median(self.times)

    def run(self, segmenter: Segments, data: DataSet, indices: Iterable[int]) -> Iterator[int]:
        """Count these frames, each when the next index is asked for; gives the indices.

        Raises FrameError where one cannot be read, BackendError where the model fails.
        """
        warm_up = WARM_UP
        for index in indices:
            labelled, name = data[index], data.frame_names[index]
            for _ in range(warm_up):
                segmenter.segment(labelled.frame)
            warm_up = 0
            answers = {
                condition.name: segmenter.segment(condition.apply(labelled.frame, index), with_confidence=True)
                for condition in self.conditions
            }
            times = [segmenter.segment(labelled.frame).times.total] if len(self.times) < TIMED else []
            self.is_whole = False
            for condition, answer in answers.items():
                self.tallies[condition].add(name, labelled, answer, data.cameras.get(name, ""))
            self.times += times
            self.is_whole = True
            yield index


def evaluate(segmenter: Segments, data: DataSet, indices: Iterable[int]) -> Evaluation:
    """Compare the labels that a node would publish, in the frame's own size, with the true ones, for these frames.

    Raises ConfigurationError where there are no frames, else as `Evaluation.run`.
    """
    evaluation = Evaluation(len(data.label_set))
    for _ in evaluation.run(segmenter, data, indices):
        pass
    if not evaluation.done:
        raise ConfigurationError(f"no frames of {data.name} to evaluate")
    return evaluation


def require_same_classes(model: LabelSet, data: LabelSet, name: str = "the model") -> None:
    """Raise ConfigurationError, saying what differs, where two label sets do not have the same names in order.

    name: of the model, for people.
    """
    if model.names == data.names:
        return
    pairs = enumerate(zip(model.names, data.names, strict=False))
    different = (f": class {at} is {ours} and {theirs}" for at, (ours, theirs) in pairs if ours != theirs)
    raise ConfigurationError(
        f"{name} has the classes of {model.name} ({len(model)}) but the data set those of {data.name} ({len(data)})"
        f"{next(different, '')}; take a model and a data set of the same classes"
    )
