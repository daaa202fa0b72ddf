"""Classes: their names and colours, and the label sets that the published weights know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.system.files import parse_json

Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """Names and RGB colours of the classes 0..N-1, N at most 255; label 255 means unlabelled and is black.

    Raises ConfigurationError where names repeat, colours are not three values of 0..255, or the two differ in number.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= UNLABELLED:
            raise ConfigurationError(f"label set {self.name} has {len(self.names)} classes, expected 1..{UNLABELLED}")
        if len(self.colors) != len(self.names):
            raise ConfigurationError(
                f"label set {self.name} has {len(self.names)} names but {len(self.colors)} colours: give one for each"
            )
        for name in self.names:
            if not name or self.names.count(name) > 1:
                raise ConfigurationError(f"label set {self.name} has the class name {name!r} empty or more than once")
        for name, color in zip(self.names, self.colors, strict=True):
            if len(color) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in color):
                raise ConfigurationError(f"colour of {name} must be three integers of 0..255 (RGB), got {color}")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def color_table(self) -> NDArray[np.uint8]:
        """(256, 3) uint8 RGB: the colour of each label value, black where there is no class."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.colors
        table.setflags(write=False)
        return table

    def colorize(self, labels: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Labels (H, W) uint8 to their colours (H, W, 3) uint8 RGB; black where a label is no class.

        out: takes the answer, a new array where it is None.
        """
        return cv2.applyColorMap(labels, self.color_table[:, None], dst=out)  # type: ignore[return-value]

    def to_json(self) -> dict[str, object]:
        """JSON-ready dictionary: {"name": ..., "classes": [{"name": ..., "color": [r, g, b]}, ...]}."""
        classes = [{"name": n, "color": list(c)} for n, c in zip(self.names, self.colors, strict=True)]
        return {"name": self.name, "classes": classes}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> LabelSet:
        """Inverse of `to_json`. Classes without a colour get one that no other class has.

        Raises ConfigurationError where something else is missing or of another type.
        """
        try:
            classes = data["classes"]
            names = tuple(str(entry["name"]) for entry in classes)
            given = [tuple(entry["color"]) if "color" in entry else None for entry in classes]
            free = (color for color in _spread_colors() if color not in given)
            return LabelSet(str(data["name"]), names, tuple(color or next(free) for color in given))
        except (KeyError, TypeError) as error:
            raise ConfigurationError(
                'a label set is {"name": ..., "classes": [{"name": ..., "color": [r, g, b]}, ...]}: '
                f"{type(error).__name__} {error}"
            ) from error


def _spread_colors() -> Iterator[Color]:
    """Those of nyuv2_40, then others, all different: more than a label set has classes."""
    first = [color for _, color in _NYUV2_40]
    yield from first
    levels = (40, 80, 120, 160, 200, 240, 60)
    yield from (color for color in product(levels, levels, levels) if color not in first)


# Wall, floor and ceiling, the largest areas, are muted. The colours are spread over CIELAB, farthest point first, and
# given out so that classes that often adjoin differ most: any two differ by at least 25 (CIE76), adjoining ones by 38.
_NYUV2_40: tuple[tuple[str, Color], ...] = (
    ("wall", (184, 184, 184)),
    ("floor", (152, 88, 24)),
    ("cabinet", (24, 24, 248)),
    ("bed", (24, 88, 248)),
    ("chair", (248, 216, 24)),
    ("sofa", (248, 56, 184)),
    ("table", (56, 152, 248)),
    ("door", (152, 56, 88)),
    ("window", (24, 184, 248)),
    ("bookshelf", (24, 88, 184)),
    ("picture", (152, 24, 24)),
    ("counter", (216, 152, 248)),
    ("blinds", (248, 152, 152)),
    ("desk", (216, 24, 248)),
    ("shelves", (248, 56, 120)),
    ("curtain", (24, 184, 24)),
    ("dresser", (248, 120, 184)),
    ("pillow", (152, 120, 152)),
    ("mirror", (120, 184, 88)),
    ("floor_mat", (184, 184, 248)),
    ("clothes", (24, 248, 216)),
    ("ceiling", (216, 248, 152)),
    ("books", (184, 184, 120)),
    ("refrigerator", (152, 216, 24)),
    ("television", (152, 152, 24)),
    ("paper", (248, 88, 88)),
    ("towel", (56, 152, 120)),
    ("shower_curtain", (248, 184, 120)),
    ("box", (24, 248, 24)),
    ("whiteboard", (88, 88, 56)),
    ("person", (248, 24, 24)),
    ("night_stand", (152, 24, 120)),
    ("toilet", (24, 216, 120)),
    ("sink", (216, 88, 24)),
    ("lamp", (248, 152, 24)),
    ("bathtub", (152, 56, 184)),
    ("bag", (184, 248, 216)),
    ("otherstructure", (248, 120, 248)),
    ("otherfurniture", (24, 88, 120)),
    ("otherprop", (24, 120, 24)),
)

_NYUV2_13 = {
    "bed": "bed",
    "books": "books",
    "ceiling": "ceiling",
    "chair": "chair",
    "floor": "floor",
    "furniture": "otherfurniture",
    "objects": "otherprop",
    "picture": "picture",
    "sofa": "sofa",
    "table": "table",
    "tv": "television",
    "wall": "wall",
    "window": "window",
}
"""Class of nyuv2_13 to the class of nyuv2_40 that lends its colour."""

NYUV2_40_TO_13 = (
    11, 4, 5, 0, 3, 8, 9, 11, 12, 5, 7, 5, 12, 9, 5, 12, 5, 6, 6, 4,
    6, 2, 1, 5, 10, 6, 6, 6, 6, 6, 6, 5, 6, 6, 6, 6, 6, 6, 5, 6,
)  # fmt: skip
"""Class index of nyuv2_40 to class index of nyuv2_13, the 13 classes of Couprie et al. (2013)."""

_NOT_IN_SUNRGBD = ("otherstructure", "otherfurniture", "otherprop")

LABEL_SET_NAMES = ("nyuv2_40", "nyuv2_13", "sunrgbd_37")


def label_set(name: str) -> LabelSet:
    """One of LABEL_SET_NAMES. Raises ConfigurationError for another name, listing them.

    Class names are the data sets' own with `_` for a space, and "refrigerator" spelt right.
    """
    if name == "nyuv2_40":
        return _from_pairs(name, _NYUV2_40)
    if name == "nyuv2_13":
        colors = dict(_NYUV2_40)
        return _from_pairs(name, tuple((n, colors[lender]) for n, lender in _NYUV2_13.items()))
    if name == "sunrgbd_37":
        return _from_pairs(name, tuple(pair for pair in _NYUV2_40 if pair[0] not in _NOT_IN_SUNRGBD))
    raise ConfigurationError(f"label set {name!r} is unknown: use one of {', '.join(LABEL_SET_NAMES)}, or a .json file")


def label_sets_by_size() -> dict[int, LabelSet]:
    """The sets of LABEL_SET_NAMES by their number of classes, which tells what weights without a label set know."""
    return {len(known): known for known in map(label_set, LABEL_SET_NAMES)}


def label_set_by_size(path: Path, classes: int) -> LabelSet:
    """What weights in a file that names no classes know, by their number. Raises CheckpointError for another number."""
    known = label_sets_by_size()
    if classes not in known:
        raise CheckpointError(
            f"{path} has {classes} classes and no label set: without one it can have {', '.join(map(str, known))}. "
            "Name the file of its classes with `label_set` or `--label-set`"
        )
    return known[classes]


def read_label_set(name_or_path: str) -> LabelSet:
    """One of LABEL_SET_NAMES, or a JSON file of the form that `LabelSet.to_json` gives.

    Raises ConfigurationError where there is neither.
    """
    if not name_or_path.endswith(".json"):
        return label_set(name_or_path)
    try:
        data = parse_json(Path(name_or_path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the label set {name_or_path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{name_or_path} holds a {type(data).__name__}, expected a JSON object")
    return LabelSet.from_json(data)


def _from_pairs(name: str, pairs: tuple[tuple[str, Color], ...]) -> LabelSet:
    return LabelSet(name, tuple(n for n, _ in pairs), tuple(color for _, color in pairs))
