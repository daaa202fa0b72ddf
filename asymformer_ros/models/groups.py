"""Groups of classes that become the classes that users see: "drivable" for floor and floor_mat, say."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.optional import importing

IGNORE = "ignore"
"""Name of the group whose classes become unlabelled."""

_REST = "rest"


@dataclass(frozen=True, eq=False)
class LabelGroups:
    """Groups as classes, with ids, names and colours of their own, and what turns labels into them.

    label_set: the groups. table: (256,) uint8, the group of each class, UNLABELLED where it is ignored.
    """

    label_set: LabelSet
    table: NDArray[np.uint8]

    @classmethod
    def of(cls, groups: Mapping[str, Any], classes: LabelSet, name: str = "label groups") -> LabelGroups:
        """Groups by name, {"drivable": ["floor", "floor_mat"], "rest": "ignore"}; their ids follow their order.

        "rest" names the group of all classes that stand in none; without it each class must stand in one. The group
        "ignore" becomes unlabelled. A group has the colour of its first class. name: what errors call it, and its stem
        the label set's name. Raises ConfigurationError for a class that there is not, naming the nearest that there is,
        for one that stands in two groups or in none, and for anything of another form.
        """
        if not isinstance(groups, Mapping) or not groups:
            raise ConfigurationError(f"{name}: expected groups such as `drivable: [floor, floor_mat]`, got {groups!r}")
        home: dict[str, str] = {}
        for group, members in groups.items():
            if group != _REST:
                _settle(home, str(group), members, classes, name)
        left = [one for one in classes.names if one not in home]
        if left and not isinstance(groups.get(_REST), str):
            raise ConfigurationError(
                f"{name}: no group has {', '.join(left)}: add them, or `rest: {IGNORE}`, or `rest:` and a group's name"
            )
        home.update((one, groups[_REST]) for one in left)
        return cls._of_homes(home, classes, name)

    @classmethod
    def read(cls, source: str | PathLike[str] | Mapping[str, Any], classes: LabelSet) -> LabelGroups:
        """As `of`, of a mapping or of a YAML or JSON file that holds one. Raises DependencyError without PyYAML."""
        if isinstance(source, Mapping):
            return cls.of(source, classes)
        return cls.of(_content(Path(os.path.expanduser(source))), classes, str(source))

    @classmethod
    def _of_homes(cls, home: Mapping[str, str], classes: LabelSet, name: str) -> LabelGroups:
        """home: the group of each class, in the order that ids and colours follow."""
        colors = dict(zip(classes.names, classes.colors, strict=True))
        palette = {group: colors[one] for one, group in reversed(list(home.items()))}
        names = tuple(group for group in dict.fromkeys(home.values()) if group != IGNORE)
        if not names:
            raise ConfigurationError(f"{name}: every class is ignored: name a group")
        table = np.full(256, UNLABELLED, np.uint8)
        for label, one in enumerate(classes.names):
            if home[one] != IGNORE:
                table[label] = names.index(home[one])
        return cls(LabelSet(Path(name).stem, names, tuple(palette[group] for group in names)), table)

    def apply(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The group of each class of (..., W) labels, in a new array of the same shape."""
        rows = labels.reshape(-1, labels.shape[-1])
        return cv2.LUT(rows, self.table).reshape(labels.shape)  # type: ignore[return-value]


def _settle(home: dict[str, str], group: str, members: Any, classes: LabelSet, name: str) -> None:
    """Put the classes of one group into it."""
    listed = [members] if isinstance(members, str) else members
    if not isinstance(listed, list | tuple) or not listed:
        raise ConfigurationError(f"{name}: group {group!r} is {members!r}: expected a list of class names")
    for one in listed:
        if one not in classes.names:
            near = difflib.get_close_matches(str(one), classes.names, n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"{name}: group {group!r} has the class {one!r}, which {classes.name} does not have: "
                f"the nearest there is {near!r}"
            )
        if one in home:
            raise ConfigurationError(f"{name}: class {one!r} stands in {home[one]!r} and again in {group!r}")
        home[one] = group


def _content(path: Path) -> Any:
    with importing("yaml", "a file of label groups"):
        import yaml
    try:
        text = path.read_text(encoding="utf-8")
        tree, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read the label groups {path}: {error}") from error
    groups = [str(key.value) for key, _ in tree.value] if isinstance(tree, yaml.MappingNode) else []
    for group in groups:
        if groups.count(group) > 1:  # YAML itself takes the last one without a word
            raise ConfigurationError(f"{path}: group {group!r} stands there twice")
    return content
