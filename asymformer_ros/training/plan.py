"""What a training is to do, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch

from asymformer_ros import __version__
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.confusion import Scores
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION, Normalization
from asymformer_ros.network import AsymFormerConfig
from asymformer_ros.training.processes import ALONE, Processes
from asymformer_ros.training.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What is trained, and how; a folder belongs to one plan.

    data: what the training frames are, and origin: what the weights start from, both for people. normalization: what
    the initial weights were trained with, or else the published one. renamed: class of the data to class learnt, as in
    `ClassMap`.
    Raises ConfigurationError where the name is empty, the input size is none of a network, or the seed is below 0.
    """

    name: str
    label_set: LabelSet
    input_size: tuple[int, int]
    recipe: Recipe
    seed: int
    data: str
    origin: str
    normalization: Normalization = PUBLISHED_NORMALIZATION
    renamed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigurationError(f"the seed must be 0..{2**32 - 1}, got {self.seed}")
        self._card("")  # a wrong size or name is to be known now, not after the first epoch

    def settings(self, config: AsymFormerConfig, frames: tuple[int, int]) -> dict[str, object]:
        """JSON-ready: all that must be the same when a training is continued; frames as for `card`."""
        return {
            "data": self.data,
            "frames": frames[0],
            "test_frames": frames[1],
            "input_size": list(self.input_size),
            "classes": list(self.label_set.names),
            "class_map": dict(self.renamed),
            "network": asdict(config),
            "origin": self.origin,
            "normalization": asdict(self.normalization),
            "seed": self.seed,
            "recipe": asdict(self.recipe),
        }

    def card(self, scores: Scores, epoch: int, frames: tuple[int, int]) -> ModelCard:
        """Of the weights after `epoch` epochs; frames: how many were trained on, and evaluated."""
        provenance = (
            f"trained {self.origin} on {frames[0]} frames of {self.data} for {epoch} of {self.recipe.epochs} epochs, "
            f"seed {self.seed}, with asymformer_ros {__version__}: mean IoU {scores.mean_iou_present:.1%} of the "
            f"classes present in {frames[1]} test frames"
        )
        return self._card(provenance)

    def _card(self, provenance: str) -> ModelCard:
        return ModelCard(self.name, self.label_set, self.normalization, self.input_size, provenance)


@dataclass(frozen=True)
class Resources:
    """What a run may use: device, worker processes, minutes and frames to evaluate (None: without limit).

    processes: that learn together, each with a device and workers of its own.
    Raises ConfigurationError where a number makes no sense.
    """

    device: torch.device
    workers: int = 1
    minutes: float | None = None
    evaluate_limit: int | None = None
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        if self.workers < 0 or (self.minutes or 0) < 0:
            raise ConfigurationError(f"workers and minutes are not below 0, got {self.workers} and {self.minutes}")
        if self.evaluate_limit is not None and self.evaluate_limit < 1:
            raise ConfigurationError(f"at least one frame must be evaluated, got {self.evaluate_limit}")
