"""Writes a data set of PNG files, the layout PNG of `files`, on request with poses and camera matrix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.files import CAMERAS_FILE, LABEL_SET_FILE, PNG
from asymformer_ros.datasets.labelled import SPLITS
from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.frames.images import encode_png
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import INTRINSICS_FILE, RawRgbd
from asymformer_ros.models.labels import LabelSet, label_set
from asymformer_ros.system.files import write_atomically

POSES = "poses"
SOURCE_FILE = "source.json"
"""What the frames are made from: so that an interrupted writer is known again."""


class PngWriter:
    """Writes one frame after the other, and the lists of the splits when closed: what was interrupted is no data set.

    Used with `with`, it is closed only where nothing was raised. source: what the frames are made from, JSON-ready; a
    folder where a writer of the same source was interrupted is gone on with. intrinsics: of all frames, whose poses are
    then written, too; None where frames may have any size.
    Raises ConfigurationError for another folder that is not empty, AsymformerError where a file cannot be written.
    """

    def __init__(
        self, folder: Path, intrinsics: Intrinsics | None, classes: LabelSet, source: Mapping[str, object] | None = None
    ) -> None:
        _require_empty(folder, source)
        self._folder, self._intrinsics, self._classes = folder, intrinsics, classes
        if source is not None:
            self._write(SOURCE_FILE, json.dumps(source))
        self._names: dict[str, set[str]] = {split: set() for split in SPLITS}
        self._cameras: dict[str, str] = {}
        if intrinsics is not None:
            camera = np.array([[intrinsics.fx, 0, intrinsics.cx], [0, intrinsics.fy, intrinsics.cy], [0, 0, 1]])
            self._write(INTRINSICS_FILE, _matrix_text(camera))
        if classes != label_set(PNG.label_set):
            self._write(LABEL_SET_FILE, json.dumps(classes.to_json(), indent=1))

    def keep(self, name: str, split: str, camera: str = "") -> bool:
        """Whether a frame of a split is there, whole, from a writer that was interrupted; if so, it is listed."""
        has_poses = self._intrinsics is not None
        last = self._folder / (f"{POSES}/{name}.txt" if has_poses else PNG.labels.format(name=name))
        content = last.read_bytes() if last.is_file() else b""
        if not content or (has_poses and len(content.split()) != 16):
            return False
        self._list(name, split, camera)
        return True

    def add(
        self, name: str, image: RawRgbd, pose: NDArray[np.floating[Any]] | None, split: str, camera: str = ""
    ) -> None:
        """Write one frame of a split.

        image: with labels, of the camera's size. pose: (4, 4), camera to world, None where there are no intrinsics.
        split: one of SPLITS. camera: what took it, "" where that is not known.
        Raises FrameError for another shape, type or class, ConfigurationError for a name that was there before.
        """
        if image.labels is None:
            raise FrameError(f"frame '{name}' has no labels: a labelled data set needs the class of each pixel")
        images = (image.rgb, image.depth, image.labels + np.uint8(1))  # 255 becomes 0
        self._check(images, pose)
        if any(name in names for names in self._names.values()):
            raise ConfigurationError(f"there are two frames '{name}': give each a name of its own")
        for path, pixels in zip(PNG.paths, images, strict=True):
            self._put(path.format(name=name), encode_png(pixels))
        if pose is not None:
            self._put(f"{POSES}/{name}.txt", _matrix_text(pose).encode())
        self._list(name, split, camera)

    def close(self) -> None:
        """Write the lists of the splits, sorted: with them it is a data set."""
        if self._cameras:
            self._write(CAMERAS_FILE, "".join(f"{name} {camera}\n" for name, camera in sorted(self._cameras.items())))
        for split, names in self._names.items():
            self._write(f"{split}.txt", "".join(f"{name}\n" for name in sorted(names)))

    def __enter__(self) -> PngWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.close()

    def _list(self, name: str, split: str, camera: str) -> None:
        self._names[split].add(name)
        if camera:
            self._cameras[name] = camera

    def _check(self, images: tuple[NDArray[Any], ...], pose: NDArray[Any] | None) -> None:
        camera, classes = self._intrinsics, len(self._classes)
        size = images[1].shape if camera is None else (camera.height, camera.width)
        came = [(image.shape, image.dtype.name) for image in images]
        right = None if camera is None else (4, 4)
        if (
            came != [((*size, 3), "uint8"), (size, "uint16"), (size, "uint8")]
            or (None if pose is None else pose.shape) != right
        ):
            raise FrameError(
                f"rgb, depth and labels are {came} and the pose {pose if pose is None else pose.shape}: expected "
                f"uint8, uint16 and uint8 images of the camera's size {size}, and {right}"
            )
        if images[2].max() > classes:
            raise FrameError(
                f"labels go up to {images[2].max() - 1}: {self._classes.name} has 0 to {classes - 1}, and {UNLABELLED}"
            )

    def _put(self, name: str, content: bytes) -> None:
        """Not brought to the disk file by file, which takes longer than rendering: only the lists make a data set."""
        path = self._folder / name
        beside = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            beside.write_bytes(content)
            beside.replace(path)
        except OSError as error:
            raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error


def _require_empty(folder: Path, source: Mapping[str, object] | None) -> None:
    """Raise ConfigurationError unless a folder is new, empty or an interrupted writer's of the same source."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    begun = folder / SOURCE_FILE
    if source is not None and begun.is_file():
        try:
            before = json.loads(begun.read_text(encoding="utf-8"))
        except ValueError:
            before = None
        if before == json.loads(json.dumps(source)):
            return
        raise ConfigurationError(
            f"'{folder}' was begun with {before}, not with {dict(source)}: give the same again, or another folder"
        )
    raise ConfigurationError(f"'{folder}' is not empty: give a new or an empty folder for the data set")


def _matrix_text(matrix: NDArray[np.floating[Any]]) -> str:
    return "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in matrix)
