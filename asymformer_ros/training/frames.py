"""Frames of data sets, kept in memory that worker processes share, and the order in which they are learnt from."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets import DataSet
from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.training.augment import Sample
from asymformer_ros.training.classes import ClassMap

_BYTES_PER_PIXEL = 6  # three of colour, two of depth, one of label


class Frames:
    """All frames of some data sets, their labels being the class map's.

    A frame is read once, and then kept as long as `budget` bytes last, in memory that processes share which are
    forked after this object was made. Frames of another size than the first are read each time.
    Raises FrameError where there is none, and where a frame cannot be read.
    """

    def __init__(self, data_sets: Sequence[DataSet], classes: ClassMap, budget: int) -> None:
        self._data_sets = data_sets
        self._tables = [classes.table(data.label_set) for data in data_sets]
        self._ends = list(accumulate(len(data) for data in data_sets))
        if not self._ends or not self._ends[-1]:
            raise FrameError(f"no frames in {', '.join(data.name for data in data_sets)}: the split is empty")
        self._size = self._read(0).labels.shape
        self._frame_bytes = self._size[0] * self._size[1] * _BYTES_PER_PIXEL
        self._capacity = min(len(self), max(1, budget // self._frame_bytes))
        self._store = mmap.mmap(-1, self._capacity * self._frame_bytes)
        self._kept = mmap.mmap(-1, self._capacity)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        if index < self._capacity and self._kept[index]:
            return self._stored(index)
        sample = self._read(index)
        if index < self._capacity and sample.labels.shape == self._size:
            stored = self._stored(index)
            stored.rgb[:], stored.depth[:], stored.labels[:] = sample.rgb, sample.depth, sample.labels
            self._kept[index] = 1
        return sample

    def labels(self, index: int) -> NDArray[np.uint8]:
        """(H, W) uint8 of one frame."""
        return self[index].labels

    def _stored(self, index: int) -> Sample:
        pixels = self._size[0] * self._size[1]
        place = np.frombuffer(self._store, np.uint8, self._frame_bytes, index * self._frame_bytes)
        depth, rgb, labels = np.split(place, (2 * pixels, 5 * pixels))
        return Sample(
            rgb.reshape(*self._size, 3), depth.view(np.uint16).reshape(self._size), labels.reshape(self._size)
        )

    def _read(self, index: int) -> Sample:
        part = next(number for number, end in enumerate(self._ends) if index < end)
        data = self._data_sets[part]
        labelled = data[index - self._ends[part] + len(data)]
        depth = depth_bytes(labelled.frame.depth).view("<u2")[..., 0]
        return Sample(labelled.frame.rgb, depth, self._tables[part][labelled.labels])


def spread(count: int, limit: int | None) -> list[int]:
    """At most `limit` of the indices 0..count-1, evenly spread; all where it is None."""
    if limit is None or limit >= count:
        return list(range(count))
    return [int((number + 0.5) * count / limit) for number in range(limit)]


def free_memory() -> int:
    """Bytes of memory that could be used now."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":") for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


class Order:
    """Batches of (epoch, index) from a step on to the last, an epoch being all frames in an order of its own.

    The order follows from seed and epoch alone. Frames that do not fill a batch are left out of that epoch.
    """

    def __init__(self, count: int, batch_size: int, epochs: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self.batch_size = min(batch_size, count)
        self.steps_per_epoch = count // self.batch_size
        self.steps = epochs * self.steps_per_epoch

    def batches(self, first_step: int) -> Iterator[list[tuple[int, int]]]:
        epoch, skip = divmod(first_step, self.steps_per_epoch)
        while epoch * self.steps_per_epoch < self.steps:
            shuffled = np.random.default_rng((self._seed, epoch)).permutation(self._count)
            for number in range(skip, self.steps_per_epoch):
                start = number * self.batch_size
                yield [(epoch, int(index)) for index in shuffled[start : start + self.batch_size]]
            epoch, skip = epoch + 1, 0
