"""Frames of data sets, kept in memory that worker processes share, and the order in which they are learnt from."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets import DataSet
from asymformer_ros.datasets.classes import ClassMap
from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.depth import depth_millimetres
from asymformer_ros.training.augment import Sample

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

    @property
    def names(self) -> list[str]:
        """Of all frames, as their data sets name them."""
        return [f"{data.name} {name}" for data in self._data_sets for name in data.frame_names]

    @property
    def counts(self) -> list[int]:
        """Of each data set's frames."""
        return [len(data) for data in self._data_sets]

    @property
    def content(self) -> list[str]:
        """What the frames are, beside their number: of each data set its fingerprint, shortened."""
        return [data.fingerprint[:16] for data in self._data_sets]

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
        depth = depth_millimetres(labelled.frame.depth)
        return Sample(labelled.frame.rgb, depth, self._tables[part][labelled.labels])


def evenly_spaced(count: int, limit: int | None) -> list[int]:
    """At most `limit` of the indices 0..count-1, evenly spaced; all where it is None."""
    if limit is None or limit >= count:
        return list(range(count))
    return [int((number + 0.5) * count / limit) for number in range(limit)]


@dataclass(frozen=True)
class Mixture:
    """What a batch is made of: frames of `main`, and `mixed` of the `other` frames, whose indices come after those.

    An epoch is all main frames. Raises ConfigurationError where a batch would have no main frame, or the share of other
    ones is not 0..1.
    """

    main: int
    other: int = 0
    mixed: int = 0

    @staticmethod
    def of(counts: Sequence[int], batch_size: int, share: float | None) -> Mixture:
        """share: of each batch that the last data set has; None: all frames are alike."""
        if share is None:
            return Mixture(sum(counts))
        mixed = round(share * batch_size)
        if len(counts) < 2 or not 0 <= share < 1 or mixed >= batch_size:
            raise ConfigurationError(
                f"the share of the last of several data sets is 0..1, less than a whole batch of {batch_size}: got "
                f"{share:g} for {len(counts)} data sets"
            )
        return Mixture(sum(counts[:-1]), counts[-1], mixed)


class BatchSampler:
    """Batches of (epoch, index) from a step on to the last, an epoch being all main frames in an order of its own.

    The order follows from seed and epoch alone. Frames that do not fill a batch are left out of that epoch. Frames that
    are mixed in come in an order of theirs, all of them before one comes again.
    """

    def __init__(self, mixture: Mixture, batch_size: int, epochs: int, seed: int) -> None:
        self._mixture, self._seed = mixture, seed
        self._own = min(batch_size - mixture.mixed, mixture.main)
        self.batch_size = self._own + mixture.mixed
        self.steps_per_epoch = mixture.main // self._own
        self.steps = epochs * self.steps_per_epoch

    def batches(self, first_step: int) -> Iterator[list[tuple[int, int]]]:
        epoch, skip = divmod(first_step, self.steps_per_epoch)
        while epoch * self.steps_per_epoch < self.steps:
            shuffled = np.random.default_rng((self._seed, epoch)).permutation(self._mixture.main)
            for number in range(skip, self.steps_per_epoch):
                start = number * self._own
                own = [int(index) for index in shuffled[start : start + self._own]]
                yield [(epoch, index) for index in (*own, *self._mixed(epoch * self.steps_per_epoch + number))]
            epoch, skip = epoch + 1, 0

    def _mixed(self, step: int) -> Iterator[int]:
        for position in range(step * self._mixture.mixed, (step + 1) * self._mixture.mixed):
            turn, place = divmod(position, self._mixture.other)
            yield self._mixture.main + int(_shuffled(self._mixture.other, self._seed, turn)[place])


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, turn: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, turn, 1)).permutation(count)
