"""The classes that a model knows, from the classes that the data have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.labelled import DataSet, LabelledFrame
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.system.files import parse_json

_FORM = 'expected {"label_set": {"name": ..., "classes": [...]}, "from": {"class of the data": "class of yours", ...}}'


@dataclass(frozen=True)
class ClassMap:
    """The label set to learn, and for each class of the data, by name, the class that it becomes; others become void.

    Raises ConfigurationError where a class is named that label_set has not.
    """

    label_set: LabelSet
    renamed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.renamed.values()) - set(self.label_set.names))
        if unknown:
            raise ConfigurationError(
                f"the classes file maps to {', '.join(unknown)}, which its label set {self.label_set.name} has not: "
                f"use {', '.join(self.label_set.names)}"
            )

    def table(self, source: LabelSet) -> NDArray[np.uint8]:
        """(256,) uint8: label of the data to label of the model, UNLABELLED where the class is not listed."""
        table = np.full(256, UNLABELLED, np.uint8)
        for index, name in enumerate(source.names):
            if name in self.renamed:
                table[index] = self.label_set.names.index(self.renamed[name])
        return table


def read_class_map(path: Path, sources: Sequence[LabelSet]) -> ClassMap:
    """The classes file of `asymformer train --classes` and `evaluate --classes`.

    Raises ConfigurationError where it cannot be read, has another form, or lists a class that no source has.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        renamed = {str(k): str(v) for k, v in data["from"].items()}
        classes = ClassMap(LabelSet.from_json(data["label_set"]), renamed)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the classes file {path}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} is no classes file ({type(error).__name__} {error}): {_FORM}") from error
    known = {name for source in sources for name in source.names}
    if unknown := sorted(renamed.keys() - known):
        raise ConfigurationError(
            f"{path} lists {', '.join(unknown)}, which the data has not: its classes are {', '.join(sorted(known))}"
        )
    return classes


def own_classes(sources: Sequence[LabelSet]) -> ClassMap:
    """The data's own classes, unchanged. Raises ConfigurationError where data sets differ in them."""
    first = sources[0]
    for other in sources[1:]:
        if other.names != first.names:
            raise ConfigurationError(
                f"the data sets have different classes, {first.name} and {other.name}: bring them together "
                "with a classes file (--classes)"
            )
    return ClassMap(first, {name: name for name in first.names})


class Mapped:
    """A data set whose labels are the class map's."""

    def __init__(self, data: DataSet, classes: ClassMap) -> None:
        self._data, self._table = data, classes.table(data.label_set)
        self.name, self.label_set = data.name, classes.label_set
        self.frame_names, self.cameras, self.fingerprint = data.frame_names, data.cameras, data.fingerprint

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> LabelledFrame:
        labelled = self._data[index]
        return LabelledFrame(labelled.frame, self._table[labelled.labels])
