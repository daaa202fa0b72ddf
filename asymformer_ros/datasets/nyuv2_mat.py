"""NYUv2 as its authors publish it: nyu_depth_v2_labeled.mat, with the split and the 40 classes in files beside it.

The .mat file is HDF5, its arrays transposed: images (1449, 3, 640, 480) uint8, depths (1449, 640, 480) float32 metres
(in-painted), labels (1449, 640, 480) uint16, 0 void, else one of 894 names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from asymformer_ros.datasets.labelled import LabelledFrame
from asymformer_ros.datasets.matlab import opened_hdf5, read_mat
from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import metres_from_float
from asymformer_ros.frames.frame import UNLABELLED, RgbdFrame
from asymformer_ros.models.labels import LabelSet, label_set

MAT_FILE = "nyu_depth_v2_labeled.mat"
SPLITS_FILE = "splits.mat"
CLASSES_FILE = "classMapping40.mat"
_ARRAYS = {"images": 4, "depths": 3, "labels": 3}  # name to number of dimensions


class Nyuv2MatDataSet:
    """One split of a folder with the three files.

    Raises FrameError where one is missing or cannot be read, DependencyError where h5py or scipy is not installed.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.name = f"{folder.resolve().name} (NYUv2, mat)"
        self.label_set: LabelSet = label_set("nyuv2_40")
        self.cameras: Mapping[str, str] = {}
        self._path = folder / MAT_FILE
        self._indices = np.atleast_1d(read_mat(folder / SPLITS_FILE, f"{split}Ndxs")).astype(int) - 1
        classes = np.atleast_1d(read_mat(folder / CLASSES_FILE, "mapClass")).astype(np.uint8) - np.uint8(1)
        self._classes = np.concatenate(([np.uint8(UNLABELLED)], classes))
        self._check()

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def frame_names(self) -> Sequence[str]:
        """See DataSet: the authors' numbers, from 1, of four digits."""
        return [f"{index + 1:04d}" for index in self._indices]

    @property
    def fingerprint(self) -> str:
        """See DataSet; of the file's size and the split."""
        content = f"{self._path.stat().st_size} {self._indices.tolist()} {self._classes.tolist()}"
        return hashlib.sha256(content.encode()).hexdigest()

    def __getitem__(self, index: int) -> LabelledFrame:
        """See DataSet. Opens the file anew: an open one must not be shared with a forked process."""
        at = int(self._indices[index])
        with opened_hdf5(self._path) as file:
            rgb, depth, stored = (np.ascontiguousarray(file[name][at].T) for name in _ARRAYS)
        try:
            return LabelledFrame(RgbdFrame(rgb, metres_from_float(depth)), self._classes[stored])
        except (FrameError, IndexError) as error:  # a label beyond the names is an IndexError
            raise FrameError(f"'{self._path}', frame {at + 1}, is damaged: {error}") from error

    def _check(self) -> None:
        with opened_hdf5(self._path) as file:
            shapes: dict[str, tuple[int, ...]] = {name: file[name].shape if name in file else () for name in _ARRAYS}
        last = int(self._indices.max())
        if any(len(shapes[name]) != ndim or shapes[name][0] <= last for name, ndim in _ARRAYS.items()):
            raise FrameError(
                f"'{self._path}' holds {shapes}: expected images (N, 3, W, H), depths and labels (N, W, H), and N "
                f"at least {last + 1}, which '{SPLITS_FILE}' asks for"
            )
