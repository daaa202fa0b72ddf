"""SUN RGB-D as its authors publish it: the folders SUNRGBD and SUNRGBDtoolbox of the two downloads, side by side.

Depth is depth_bfx, in-painted, 16 bit, its bits rotated; the 37 classes are in an HDF5 file, its arrays transposed;
which frames are for training is in allsplit.mat.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asymformer_ros.datasets.files import rotated_back
from asymformer_ros.datasets.labelled import LabelledFrame, labels_from_one
from asymformer_ros.datasets.matlab import opened_hdf5, read_mat
from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import read_depth, read_rgb
from asymformer_ros.models.labels import LabelSet, label_set

FRAMES, TOOLBOX = "SUNRGBD", "SUNRGBDtoolbox"
_META = f"{TOOLBOX}/Metadata/SUNRGBDMeta.mat"
_LABELS = f"{TOOLBOX}/Metadata/SUNRGBD2Dseg.mat"
_SPLIT = f"{TOOLBOX}/traintestSUNRGBD/allsplit.mat"
_THEIR_ROOT = f"/{FRAMES}/"  # in the paths of their own machine


class SunRgbdOriginal:
    """One split. A frame's name is its folder below SUNRGBD, with - for /; its camera is the first part of that.

    Raises FrameError where a file of the toolbox is missing or cannot be read, DependencyError where h5py or scipy is
    not installed. Which frames are there is seen when they are read.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.name = f"{folder.resolve().name} (SUN RGB-D, original)"
        self.label_set: LabelSet = label_set("sunrgbd_37")
        self._folder = folder
        own = {_below(path) for path in np.atleast_1d(read_mat(folder / _SPLIT, f"all{split}"))}
        meta = np.atleast_1d(read_mat(folder / _META, "SUNRGBDMeta"))
        try:
            frames = [(index, _below(str(Path(one.rgbpath).parents[1])), one) for index, one in enumerate(meta)]
            self._frames = [
                (index, place, f"{one.rgbname}", f"{one.depthname}") for index, place, one in frames if place in own
            ]
        except (AttributeError, IndexError) as error:
            raise FrameError(f"'{folder / _META}' is not what its authors publish: {error}") from error
        if not self._frames:
            raise FrameError(f"'{folder / _SPLIT}' names no frame of '{_META}' for {split}")
        self.cameras = {place.replace("/", "-"): place.split("/")[0] for _, place, *_ in self._frames}
        self.frame_names = [place.replace("/", "-") for _, place, *_ in self._frames]

    @cached_property
    def fingerprint(self) -> str:
        """See DataSet; of the split and the size of the file of labels."""
        content = f"{(self._folder / _LABELS).stat().st_size} {self.frame_names}"
        return hashlib.sha256(content.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> LabelledFrame:
        """See DataSet."""
        number, place, rgb_name, depth_name = self._frames[index]
        folder = self._folder / FRAMES / place
        rgb = read_rgb(folder / "image" / rgb_name)
        depth = metres_from_millimetres(rotated_back(read_depth(folder / "depth_bfx" / depth_name)))
        try:
            return LabelledFrame(RgbdFrame(rgb, depth), labels_from_one(self._labels(number), len(self.label_set)))
        except FrameError as error:
            raise FrameError(f"'{folder}': {error}") from error

    def _labels(self, number: int) -> Any:
        path = self._folder / _LABELS
        with opened_hdf5(path) as file:
            try:
                return np.ascontiguousarray(file[file["SUNRGBD2Dseg"]["seglabel"][number][0]][()].T)
            except (KeyError, ValueError, IndexError, TypeError) as error:
                raise FrameError(f"'{path}' has no labels of frame {number + 1}: {error}") from error


def _below(path: object) -> str:
    """Of a folder on the authors' machine, what stands below SUNRGBD."""
    return str(path).partition(_THEIR_ROOT)[2].strip("/")
