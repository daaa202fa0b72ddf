"""Data sets that keep each image in a file of its own, and list the names of a split in a text file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.labelled import SPLITS, LabelledFrame, labels_from, labels_from_one
from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import depth_in_metres, metres_from_float
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import read_depth, read_labels, read_rgb
from asymformer_ros.models.labels import LabelSet, read_label_set

LABEL_SET_FILE = "label_set.json"
CAMERAS_FILE = "cameras.txt"
_WILD = re.compile(r"[*?]")
_JPEG = (".jpg", ".jpeg", ".JPG", ".JPEG")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")


@dataclass(frozen=True)
class Layout:
    """Where the files of a frame are, below the folder, and what they mean.

    rgb, depth, labels: paths with {split} and {name}, ending in .png or .npy; colour may end in .jpg, .jpeg or .png
    instead. metres: one unit of depth. label_set: the classes, where the folder has no label_set.json.
    first, void: label of the first class, and those that are none; None for 1 and 0 or 255. is_rotated: whether the
    bits of depth are rotated left by 3, as in SUN RGB-D. lists: of each split the file with its names, or a pattern of
    them with * or ?. keeps_folders: whether a folder in front is part of a name.
    """

    title: str
    rgb: str
    depth: str
    labels: str
    metres: float
    label_set: str = "nyuv2_40"
    first: int = 1
    void: tuple[int, ...] | None = None
    is_rotated: bool = False
    lists: Mapping[str, str] = field(default_factory=lambda: {split: f"{split}.txt" for split in SPLITS})
    keeps_folders: bool = False

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

    Raises FrameError where the list of the split, or a file of a frame that it lists, is not there; with
    `must_be_whole` False a missing file is an error only of the frame.
    """

    def __init__(self, folder: Path, split: str, layout: Layout, *, must_be_whole: bool = True) -> None:
        self.name = f"{folder.resolve().name} ({layout.title})"
        own_classes = folder / LABEL_SET_FILE
        self.label_set: LabelSet = read_label_set(str(own_classes if own_classes.exists() else layout.label_set))
        self._layout, self._folder = layout, folder
        self.frame_names: Sequence[str] = listed_names(folder, split, layout)
        self.cameras: Mapping[str, str] = _cameras(folder)
        self._files = [
            (
                _colour_file(folder / layout.rgb.format(split=split, name=name)),
                *(folder / path.format(split=split, name=name) for path in (layout.depth, layout.labels)),
            )
            for name in self.frame_names
        ]
        if must_be_whole:
            _require(folder, self._files)

    @cached_property
    def fingerprint(self) -> str:
        """See DataSet; of the names and sizes of all files, the labels and the classes."""
        digest = hashlib.sha256(json.dumps(self.label_set.names).encode())
        for file in (file for frame in self._files for file in frame if file.is_file()):
            digest.update(f"{file.relative_to(self._folder)} {file.stat().st_size}\n".encode())
        for *_, labels in self._files:  # a label that is mended may leave names and sizes as they were
            digest.update(hashlib.sha256(labels.read_bytes()).digest() if labels.is_file() else b"")
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> LabelledFrame:
        """See DataSet."""
        rgb, _, labels = self._files[index]
        frame = self.frame(index)
        stored = _read_array(labels) if labels.suffix == ".npy" else read_labels(labels)
        try:
            return LabelledFrame(frame, self._classes_of(stored))
        except FrameError as error:
            raise FrameError(f"'{rgb}' with its depth and labels: {error}") from error

    def frame(self, index: int) -> RgbdFrame:
        """A frame without its labels, which need not be there. Raises FrameError."""
        rgb, depth, _ = self._files[index]
        colour, metres = _read_rgb(rgb), _read_metres(depth, self._layout)
        try:
            return RgbdFrame(colour, metres)
        except FrameError as error:
            raise FrameError(f"'{rgb}' with its depth and labels: {error}") from error

    def _classes_of(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        if self._layout.void is None:
            return labels_from_one(stored, len(self.label_set))
        return labels_from(stored, len(self.label_set), self._layout.first, self._layout.void)


def listed_names(folder: Path, split: str, layout: Layout) -> list[str]:
    """Names of the frames of a split. Raises FrameError where there are none."""
    told = layout.lists[split]
    if not _WILD.search(told):
        return _listed(folder / told, keeps_folders=layout.keeps_folders)
    before, _, after = layout.rgb.format(split=split, name="\0").partition("\0")
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"{before}{told}{after}"))
    if not found:
        raise FrameError(f"'{folder}' holds no colour image that is called '{before}{told}{after}'")
    return [name[len(before) : len(name) - len(after)] for name in found]


def _cameras(folder: Path) -> dict[str, str]:
    """Camera of each frame, from a file of lines with name and camera; empty where there is none."""
    path = folder / CAMERAS_FILE
    if not path.is_file():
        return {}
    pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise FrameError(f"'{path}' has another form than expected: a frame's name and its camera on each line")
    return dict(pairs)


def _listed(path: Path, *, keeps_folders: bool = False) -> list[str]:
    """Names of a list; an image's ending is dropped, and a folder in front where it is not part of the name."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FrameError(
            f"the split's list '{path}' cannot be read ({error}): expected the name of one frame on each line"
        ) from error
    names = [PurePosixPath(line.strip().replace("\\", "/")) for line in lines if line.strip()]
    if not names:
        raise FrameError(f"the split's list '{path}' is empty: expected the name of one frame on each line")
    bare = [name.with_suffix("") if name.suffix.lower() in _SUFFIXES else name for name in names]
    return [name.as_posix() if keeps_folders else name.name for name in bare]


def _colour_file(path: Path) -> Path:
    """The file, or the JPEG or PNG that is there in its place."""
    if path.is_file():
        return path
    return next((other for suffix in (*_JPEG, ".png") if (other := path.with_suffix(suffix)).is_file()), path)


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


def _read_metres(path: Path, layout: Layout) -> NDArray[np.float32]:
    stored = _read_array(path) if path.suffix == ".npy" else read_depth(path)
    if path.suffix == ".npy" and layout.metres == 1:
        try:
            return depth_in_metres(stored.astype(np.float32))
        except FrameError as error:
            raise FrameError(f"'{path}': {error}") from error
    if layout.is_rotated:
        stored = rotated_back(stored)
    return metres_from_float(np.multiply(stored, np.float32(layout.metres), dtype=np.float32))


def rotated_back(stored: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Depth of SUN RGB-D's original files, whose bits are rotated left by 3, in millimetres."""
    return (stored >> np.uint16(3)) | (stored << np.uint16(13))


def _read_array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FrameError(f"'{path}' is no readable .npy file: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
        raise FrameError(f"'{path}' holds no numbers: expected one array of them")
    return array
