"""A folder of images with a few lines of YAML that say where they are and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asymformer_ros.datasets.files import Layout
from asymformer_ros.datasets.labelled import SPLITS
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.optional import importing

DESCRIPTION_FILE = "dataset.yaml"
_IMAGES = ("rgb", "depth", "labels")
_OPTIONAL = {
    "depth_unit": "metres of one step of depth, such as 0.001",
    "depth_bits": "rotated, as in SUN RGB-D's original files",
    "first_label": "label of the first class",
    "void": "list of labels that are no class",
    "classes": "nyuv2_40, nyuv2_13, sunrgbd_37 or a .json file",
    **dict.fromkeys(SPLITS, "file with one name a line, or a pattern such as room1_*"),
}


def read_description(folder: Path) -> Layout:
    """The layout that the folder's dataset.yaml describes. Raises ConfigurationError, which says what is wrong with it.

    rgb, depth and labels are paths with {name}; everything else may be left out.
    """
    path = folder / DESCRIPTION_FILE
    with importing("yaml", f"'{path}'"):
        import yaml
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"'{path}' cannot be read as YAML: {error}") from error
    try:
        return _layout(folder, told)
    except (ConfigurationError, TypeError, ValueError) as error:
        known = "; ".join(f"{name}: {text}" for name, text in _OPTIONAL.items())
        raise ConfigurationError(
            f"'{path}': {error}; expected rgb, depth and labels, each a path with {{name}} such as depth/{{name}}.png, "
            f"and on request {known}"
        ) from error


def _layout(folder: Path, told: Any) -> Layout:
    if not isinstance(told, Mapping):
        raise ConfigurationError(f"it holds a {type(told).__name__}")
    unknown = sorted(str(key) for key in told if key not in (*_IMAGES, *_OPTIONAL))
    without = [key for key in _IMAGES if "{name}" not in str(told.get(key, ""))]
    if unknown or without:
        problems = [f"{key} has no {{name}}" for key in without] + [f"{key} is not known" for key in unknown]
        raise ConfigurationError(", ".join(problems))
    if told.get("depth_bits", "rotated") != "rotated":
        raise ConfigurationError(f"depth_bits is {told['depth_bits']}")
    first = int(told.get("first_label", 1))
    unit = float(told.get("depth_unit", 1.0 if str(told["depth"]).endswith(".npy") else 1e-3))
    if not unit > 0:
        raise ConfigurationError(f"depth_unit is {unit:g}")
    classes = str(told.get("classes", "nyuv2_40"))
    return Layout(
        title="described",
        rgb=str(told["rgb"]),
        depth=str(told["depth"]),
        labels=str(told["labels"]),
        metres=unit,
        label_set=str(folder / classes) if classes.endswith(".json") else classes,
        first=first,
        void=tuple(int(label) for label in told.get("void", [0, 255] if first == 1 else [255])),
        is_rotated="depth_bits" in told,
        lists={split: str(told.get(split, f"{split}.txt")) for split in SPLITS},
        keeps_folders=True,
    )
