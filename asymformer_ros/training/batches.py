"""Augmented batches, made by worker processes, and frames as the network takes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asymformer_ros.errors import AsymformerError
from asymformer_ros.models.camera_network import normalized_colour, normalized_depth
from asymformer_ros.models.normalization import Normalization
from asymformer_ros.system.signals import leave_signals_to_parent
from asymformer_ros.training.augment import Sample, View, ViewSize, augment
from asymformer_ros.training.frames import BatchSampler, Frames
from asymformer_ros.training.plan import Resources
from asymformer_ros.training.recipe import Recipe

_log = logging.getLogger(__name__)

_AHEAD = 4  # batches that each worker makes in advance
_SHARED = Path("/dev/shm")
_BYTES_PER_PIXEL = 6  # three of colour, two of depth, one of label
_MARGIN = 1.5  # others use shared memory, too, and the batch that is trained on is there as well
_PATIENCE = 600.0  # seconds for one batch


class Batch(NamedTuple):
    """rgb (N, H, W, 3) uint8, depth (N, H, W, 2) uint8 as `depth_bytes` packs it, labels (N, H, W) uint8.

    taught: what a teacher sees, and shifts: the (down, right) pixels that each image lies beside that.
    """

    rgb: Tensor
    depth: Tensor
    labels: Tensor
    taught: Batch | None = None
    shifts: Sequence[tuple[int, int]] = ()

    @staticmethod
    def of(samples: Sequence[Sample]) -> Batch:
        return Batch(
            torch.from_numpy(np.stack([sample.rgb for sample in samples])),
            torch.from_numpy(np.stack([sample.depth for sample in samples]).astype("<u2")[..., None].view(np.uint8)),
            torch.from_numpy(np.stack([sample.labels for sample in samples])),
        )

    @staticmethod
    def of_views(views: Sequence[View]) -> Batch:
        batch, taught = Batch.of([view.sample for view in views]), [view.taught for view in views if view.taught]
        return batch._replace(taught=Batch.of(taught) if taught else None, shifts=[view.shift for view in views])

    def inputs(self, normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised rgb (N, 3, H, W) and depth (N, 1, H, W), float32, on the device."""
        rgb, depth = (image.to(device, non_blocking=True) for image in (self.rgb, self.depth))
        return normalized_colour(rgb, normalization), normalized_depth(depth, normalization)


@dataclass(frozen=True)
class Augmentation:
    """What is made of the frames: sizes, by a recipe; what is random follows from the seed alone."""

    size: ViewSize
    recipe: Recipe
    seed: int


class _Augmented(Dataset[list[Batch] | AsymformerError]):
    """Parts of a batch by its list of (epoch, index). An error comes out as a value: DataLoader would bury its text."""

    def __init__(self, frames: Frames, augmentation: Augmentation, parts: Sequence[slice]) -> None:
        self._frames, self._augmentation, self._parts = frames, augmentation, parts

    def __getitem__(self, wanted: list[tuple[int, int]]) -> list[Batch] | AsymformerError:
        try:
            return [Batch.of_views([self._one(*each) for each in wanted[part]]) for part in self._parts]
        except AsymformerError as error:
            return error

    def _one(self, epoch: int, index: int) -> View:
        rng = np.random.default_rng((self._augmentation.seed, epoch, index))
        return augment(self._frames[index], self._augmentation.size, self._augmentation.recipe, rng)


def augmented_batches(
    frames: Frames, augmentation: Augmentation, sampler: BatchSampler, first_step: int, resources: Resources
) -> Generator[list[Batch], None, None]:
    """This process's parts of the batches of all steps from first_step on, made by its workers, or itself without any.

    Where shared memory, through which batches come, has no room for those that are made in advance, fewer are, or none.
    Raises FrameError where a frame cannot be read, AsymformerError where no batch comes for _PATIENCE seconds.
    """
    workers, processes = resources.workers, resources.processes
    images = -(-sampler.batch_size // processes.count) * (2 if augmentation.recipe.teacher.weight else 1)
    ahead = _batches_ahead(augmentation.size.view, images, workers * processes.here)
    if workers and not ahead:
        workers = 0
    loader = DataLoader(
        _Augmented(frames, augmentation, processes.parts(augmentation.recipe.accumulate)),
        batch_size=None,
        sampler=sampler.batches(first_step),
        num_workers=workers,
        prefetch_factor=ahead if workers else None,
        timeout=_PATIENCE if workers else 0,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_begin_worker,
        collate_fn=_as_it_is,
    )
    try:
        for parts in loader:
            if isinstance(parts, AsymformerError):
                raise parts
            yield parts
    except (RuntimeError, EOFError, ConnectionError) as error:  # the last two: it ended while it handed a batch over
        raise _lost_worker(error) from error


@contextmanager
def telling_lost_workers() -> Iterator[None]:
    """A worker that is killed meanwhile is told as one that is missed for the next batch.

    PyTorch hears of it by a signal, and raises wherever the main thread is.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader" not in str(error):
            raise
        raise _lost_worker(error) from error


def _lost_worker(error: Exception) -> AsymformerError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return AsymformerError(
        f"a worker process makes no more batches ({reason}): it may have been killed for memory, or "
        f"{_SHARED} is full; try --workers 0. What was trained is kept up to the last save"
    )


def _batches_ahead(size: tuple[int, int], batch_size: int, workers: int) -> int:
    """How many batches each worker may make in advance, 0..4, so that all of them have room in shared memory."""
    if not workers or not _SHARED.exists():
        return _AHEAD
    file_system = os.statvfs(_SHARED)
    free, one = file_system.f_bavail * file_system.f_frsize, batch_size * size[0] * size[1] * _BYTES_PER_PIXEL
    ahead = min(_AHEAD, int(free / (_MARGIN * one * workers)))
    if ahead < _AHEAD:
        how = f"each of {workers} workers makes {ahead} batches in advance" if ahead else "this process makes batches"
        _log.warning(
            "%s has %.0f MB free, a batch takes %.1f MB: %s; in a container, --shm-size=1g gives room",
            _SHARED,
            free / 1e6,
            one / 1e6,
            how,
        )
    return ahead


def _begin_worker(_: int) -> None:
    leave_signals_to_parent()
    cv2.setNumThreads(0)


def _as_it_is(batch: Any) -> Any:
    return batch
