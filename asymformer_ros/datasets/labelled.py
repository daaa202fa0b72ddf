"""Frames whose classes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.frame import UNLABELLED, RgbdFrame
from asymformer_ros.models.labels import LabelSet

SPLITS = ("train", "test")


@dataclass(frozen=True)
class LabelledFrame:
    """A frame and the true class of each of its pixels.

    labels: (H, W) uint8, class 0..N-1, 255 (void) where there is none. Raises FrameError for another shape or type.
    """

    frame: RgbdFrame
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.labels.shape != self.frame.size or self.labels.dtype != np.uint8:
            raise FrameError(f"labels are {self.labels.shape} {self.labels.dtype}: expected {self.frame.size} uint8")


class DataSet(Protocol):
    """The labelled frames of one split, by index from 0."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def label_set(self) -> LabelSet:
        """The classes that the labels count."""

    @property
    def frame_names(self) -> Sequence[str]:
        """Of the frames, in order: the same frame has the same name in every split."""

    @property
    def cameras(self) -> Mapping[str, str]:
        """What took a frame, by the frame's name; empty where the data set does not say."""

    @property
    def fingerprint(self) -> str:
        """Of what the files are: another one where frames, or the sizes of their files, are others."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledFrame:
        """Read one frame; several threads and processes may. Raises FrameError, which names the file, where it cannot
        be read or contradicts itself, and IndexError behind the last."""


def labels_from(stored: NDArray[Any], classes: int, first: int, void: Sequence[int]) -> NDArray[np.uint8]:
    """Labels of which `first` is the first class and those in `void` are none, to 0..N-1 and 255 for void.

    stored: (H, W), of any numeric type. Raises FrameError for what is neither.
    """
    is_void = np.isin(stored, void)
    with np.errstate(invalid="ignore"):  # NaN, which then differs
        labels = np.where(is_void, first, stored).astype(np.int64)
    if not np.array_equal(labels, np.where(is_void, first, stored)) or not (
        first <= labels.min(initial=first) and labels.max(initial=first) < first + classes
    ):
        told = f", or {', '.join(map(str, void))} (void)" if void else ""
        raise FrameError(
            f"labels are {stored.min()} to {stored.max()}: expected classes {first} to {first + classes - 1}{told}"
        )
    return np.where(is_void, UNLABELLED, labels - first).astype(np.uint8)


def labels_from_one(stored: NDArray[Any], classes: int) -> NDArray[np.uint8]:
    """Labels as data sets store them, 0 or 255 void and 1..N, to 0..N-1 and 255 for void.

    stored: (H, W), of any numeric type. Raises FrameError for what is not a whole number of 0..N, or 255.
    """
    with np.errstate(invalid="ignore"):  # NaN, which then differs
        labels = stored.astype(np.uint8)
    whole = np.array_equal(labels, stored)
    if classes < UNLABELLED:
        labels[labels == UNLABELLED] = 0
    if not whole or labels.max(initial=0) > classes:
        raise FrameError(
            f"labels are {stored.min()} to {stored.max()}: expected 0 or 255 (void) and classes 1 to {classes}"
        )
    return labels - np.uint8(1)  # 0 becomes 255
