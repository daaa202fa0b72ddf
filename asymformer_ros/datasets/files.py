"""Data sets that keep each image in a file of its own, and list the names of a split in a text file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.labelled import LabelledFrame, labels_from_one
from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import metres_from_float
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import read_depth, read_labels, read_rgb
from asymformer_ros.models.labels import LabelSet, label_set, read_label_set

LABEL_SET_FILE = "label_set.json"
_JPEG = (".jpg", ".jpeg", ".JPG", ".JPEG")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")


@dataclass(frozen=True)
class Layout:
    """Where the files of a frame are, below the folder, and what they mean.

    rgb, depth, labels: paths with {split} and {name}, ending in .png or .npy; colour may end in .jpg or .jpeg instead
    of .png. metres: one unit of depth.
    label_set: the classes, labels 1..N, where the folder has no label_set.json.
    """

    title: str
    rgb: str
    depth: str
    labels: str
    metres: float
    label_set: str = "nyuv2_40"

    def folders(self, split: str) -> list[str]:
        """The folders that hold the frames of a split."""
        return [str(Path(path.format(split=split, name="")).parent) for path in self.paths]

    @property
    def paths(self) -> tuple[str, str, str]:
        """Of colour, depth and labels."""
        return self.rgb, self.depth, self.labels


PNG = Layout("PNG", "images/{name}.png", "depths/{name}.png", "labels/{name}.png", metres=1e-3)
"""The authors' second release of NYUv2, and what `asymformer render` writes."""

NPY = Layout("npy", "images/{name}.npy", "depths/{name}.npy", "labels40/{name}.npy", metres=1.0)
"""The authors' first release of NYUv2."""

SUNRGBD = Layout(
    "SUN RGB-D", "{split}_image/{name}.npy", "{split}_depth/{name}.png", "{split}_label/{name}.png", 1e-4, "sunrgbd_37"
)
"""The authors' SUN RGB-D."""


class FileDataSet:
    """One split of a folder in one of these layouts.

    Raises FrameError where the list of the split, or a file of a frame that it lists, is not there.
    """

    def __init__(self, folder: Path, split: str, layout: Layout) -> None:
        self.name = f"{folder.resolve().name} ({layout.title})"
        own_classes = folder / LABEL_SET_FILE
        self.label_set: LabelSet = (
            read_label_set(str(own_classes)) if own_classes.exists() else label_set(layout.label_set)
        )
        self._layout, self._folder = layout, folder
        self.frame_names: Sequence[str] = _listed(folder / f"{split}.txt")
        self._files = [
            (
                _colour_file(folder / layout.rgb.format(split=split, name=name)),
                *(folder / path.format(split=split, name=name) for path in (layout.depth, layout.labels)),
            )
            for name in self.frame_names
        ]
        _require(folder, self._files)

    @cached_property
    def fingerprint(self) -> str:
        """See DataSet; of the names and sizes of all files, and the classes."""
        digest = hashlib.sha256(json.dumps(self.label_set.names).encode())
        for file in (file for frame in self._files for file in frame):
            digest.update(f"{file.relative_to(self._folder)} {file.stat().st_size}\n".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> LabelledFrame:
        """See DataSet."""
        rgb, depth, labels = self._files[index]
        colour, metres = _read_rgb(rgb), _read_metres(depth, self._layout.metres)
        stored = _read_array(labels) if labels.suffix == ".npy" else read_labels(labels)
        try:
            return LabelledFrame(RgbdFrame(colour, metres), labels_from_one(stored, len(self.label_set)))
        except FrameError as error:
            raise FrameError(f"'{rgb}' with its depth and labels: {error}") from error


def _listed(path: Path) -> list[str]:
    """Names of a list; a folder in front and an image's ending are dropped."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FrameError(
            f"the split's list '{path}' cannot be read ({error}): expected the name of one frame on each line"
        ) from error
    names = [PurePosixPath(line.strip().replace("\\", "/")) for line in lines if line.strip()]
    if not names:
        raise FrameError(f"the split's list '{path}' is empty: expected the name of one frame on each line")
    return [name.stem if name.suffix.lower() in _SUFFIXES else name.name for name in names]


def _colour_file(path: Path) -> Path:
    """The file, or the JPEG that is there instead of a PNG."""
    if path.suffix != ".png" or path.is_file():
        return path
    return next((other for suffix in _JPEG if (other := path.with_suffix(suffix)).is_file()), path)


def _require(folder: Path, frames: Sequence[tuple[Path, ...]]) -> None:
    absent = [file for frame in frames for file in frame if not file.is_file()]
    if absent:
        raise FrameError(
            f"'{folder}' lacks {len(absent)} files of the {len(frames)} frames that the split lists, the first is "
            f"'{absent[0].relative_to(folder)}'"
        )


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    if path.suffix != ".npy":
        return read_rgb(path)
    stored = _read_array(path)
    image = stored.astype(np.uint8)
    if not np.array_equal(image, stored):
        raise FrameError(f"'{path}' holds {stored.dtype} of {stored.min()} to {stored.max()}: expected whole 0 to 255")
    return image


def _read_metres(path: Path, unit: float) -> NDArray[np.float32]:
    stored = _read_array(path) if path.suffix == ".npy" else read_depth(path)
    return metres_from_float(np.multiply(stored, np.float32(unit), dtype=np.float32))


def _read_array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FrameError(f"'{path}' is no readable .npy file: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
        raise FrameError(f"'{path}' holds no numbers: expected one array of them")
    return array
