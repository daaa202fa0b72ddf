"""Some frames of a data set as a data set of their own, and frames held out by scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asymformer_ros.datasets.labelled import DataSet, LabelledFrame
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.models.labels import LabelSet

_LONGEST = 40  # a scene of more than this part of all frames is never held out
_FEWEST = 20  # scenes


class Part:
    """The frames of a data set at these indices."""

    def __init__(self, data: DataSet, indices: Sequence[int]) -> None:
        self._data, self._indices = data, indices

    @property
    def name(self) -> str:
        return self._data.name

    @property
    def label_set(self) -> LabelSet:
        return self._data.label_set

    @property
    def frame_names(self) -> Sequence[str]:
        names = self._data.frame_names
        return [names[index] for index in self._indices]

    @property
    def cameras(self) -> Mapping[str, str]:
        return self._data.cameras

    @property
    def fingerprint(self) -> str:
        return self._data.fingerprint

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> LabelledFrame:
        return self._data[self._indices[index]]


def hold_out(data: DataSet, share: float) -> tuple[Part, Part]:
    """The frames to train on, and about `share` of them, whole scenes evenly spread, to evaluate on.

    Frames whose names are consecutive numbers are one scene, as in NYUv2, where a gap is a scene of the other split;
    where that gives few scenes, neighbours are, a hundredth of the set each. Raises ConfigurationError where the share
    is not above 0 and at most a half, or leaves nothing on one side.
    """
    if not 0 < share <= 0.5:
        raise ConfigurationError(f"the share to hold out is above 0 and at most 0.5, got {share}")
    found, every = scenes(data.frame_names), round(1 / share)
    held = [scene for scene in found[every // 2 :: every] if len(scene) * _LONGEST <= max(len(data), _LONGEST)]
    inside = [index for scene in held for index in scene]
    outside = sorted(set(range(len(data))) - set(inside))
    if not inside or not outside:
        raise ConfigurationError(
            f"{data.name} has {len(found)} scenes in {len(data)} frames: too few to hold out {share:g} of them"
        )
    return Part(data, outside), Part(data, inside)


def scenes(names: Sequence[str]) -> list[range]:
    """Runs of indices whose names are consecutive numbers; about a hundred equal parts where that are too few."""
    numbers = [int(name) if name.isdecimal() else None for name in names]
    breaks = [index for index in range(1, len(numbers)) if numbers[index] != (numbers[index - 1] or 0) + 1]
    if None in numbers or len(breaks) + 1 < _FEWEST:
        breaks = list(range(0, len(names), max(1, round(len(names) / 100))))[1:]
    return [range(start, end) for start, end in zip([0, *breaks], [*breaks, len(names)], strict=True)]
