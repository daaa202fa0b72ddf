"""Augmented batches, made by worker processes, and frames as the network takes them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asymformer_ros.errors import AsymformerError
from asymformer_ros.models.normalization import Normalization
from asymformer_ros.training.augment import Sample, ViewSize, augment
from asymformer_ros.training.frames import Frames, Order
from asymformer_ros.training.recipe import Recipe

_AHEAD = 4  # batches that each worker makes in advance


class Batch(NamedTuple):
    """rgb (N, H, W, 3) uint8, depth (N, H, W) int32 millimetres (0 unknown), labels (N, H, W) uint8."""

    rgb: Tensor
    depth: Tensor
    labels: Tensor

    @staticmethod
    def of(samples: Sequence[Sample]) -> Batch:
        return Batch(
            torch.from_numpy(np.stack([sample.rgb for sample in samples])),
            torch.from_numpy(np.stack([sample.depth for sample in samples]).astype(np.int32)),
            torch.from_numpy(np.stack([sample.labels for sample in samples])),
        )

    def inputs(self, normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised rgb (N, 3, H, W) and depth (N, 1, H, W), float32, on the device."""
        mean, std = (
            torch.tensor(values, device=device) * 255 for values in (normalization.rgb_mean, normalization.rgb_std)
        )
        rgb = self.rgb.to(device, non_blocking=True).float().sub_(mean).div_(std).permute(0, 3, 1, 2)
        metres = self.depth.to(device, non_blocking=True)[:, None] * 0.001
        return rgb, metres.sub_(normalization.depth_mean).div_(normalization.depth_std)


@dataclass(frozen=True)
class View:
    """What is made of the frames: sizes, by a recipe; chance follows from the seed alone."""

    size: ViewSize
    recipe: Recipe
    seed: int


class _Augmented(Dataset[Batch | AsymformerError]):
    """Batches by their list of (epoch, index). An error comes out as a value: DataLoader would bury its text."""

    def __init__(self, frames: Frames, view: View) -> None:
        self._frames, self._view = frames, view

    def __getitem__(self, wanted: list[tuple[int, int]]) -> Batch | AsymformerError:
        try:
            return Batch.of([self._one(epoch, index) for epoch, index in wanted])
        except AsymformerError as error:
            return error

    def _one(self, epoch: int, index: int) -> Sample:
        chance = np.random.default_rng((self._view.seed, epoch, index))
        return augment(self._frames[index], self._view.size, self._view.recipe, chance)


def augmented_batches(frames: Frames, view: View, order: Order, first_step: int, workers: int) -> Iterator[Batch]:
    """The batches of all steps from first_step on, made in `workers` processes, or in this one where it is 0.

    Raises FrameError where a frame cannot be read.
    """
    loader = DataLoader(
        _Augmented(frames, view),
        batch_size=None,
        sampler=_From(order, first_step),
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_begin_worker,
        collate_fn=_as_it_is,
    )
    for batch in loader:
        if isinstance(batch, AsymformerError):
            raise batch
        yield batch


class _From:
    """`Order.batches` as a sampler."""

    def __init__(self, order: Order, first_step: int) -> None:
        self._order, self._first_step = order, first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self._order.batches(self._first_step)


def _begin_worker(_: int) -> None:
    """Ctrl-C reaches the whole process group, and must end the main process alone, which then ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)


def _as_it_is(batch: Any) -> Any:
    return batch
