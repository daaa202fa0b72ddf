"""Cross entropy of classes that are weighted by how rare they are, and divergence from a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.training.recipe import STRIDE


def balance_weights(
    labels: Iterable[NDArray[np.uint8]], num_classes: int, limits: tuple[float, float], power: float = 1.0
) -> NDArray[np.float32]:
    """(num_classes,) float32 weights by median frequency (Eigen and Fergus, 2015, section 6.3.2) to a power.

    labels: (H, W) uint8 each, UNLABELLED and other values that are no class do not count. The frequency of a class is
    its share of the images that it is in. Weights are held within limits; a class that never occurs gets 0.
    Raises ConfigurationError where there is no labelled pixel at all.
    """
    pixels, around = np.zeros(num_classes), np.zeros(num_classes)
    for image in labels:
        counts = np.bincount(image.reshape(-1), minlength=UNLABELLED + 1)[:num_classes]
        pixels += counts
        around += (counts > 0) * counts.sum()
    occurs = pixels > 0
    if not occurs.any():
        raise ConfigurationError("the training frames have no labelled pixel: check the labels, or the classes file")
    frequency = pixels[occurs] / around[occurs]
    weights = np.zeros(num_classes, np.float32)
    weights[occurs] = np.clip((np.median(frequency) / frequency) ** power, *limits)
    return weights


class BalancedLoss:
    """Weighted mean of the cross entropy over labelled pixels."""

    def __init__(self, weights: NDArray[np.float32], device: torch.device, *, full_resolution: bool) -> None:
        self._weights = torch.from_numpy(weights).to(device)
        self._of_label = F.pad(self._weights, (0, UNLABELLED + 1 - len(weights)))
        self._full_resolution = full_resolution

    def __call__(self, logits: Tensor, labels: Tensor, phase: tuple[int, int], weight: float | None = None) -> Tensor:
        """Loss of logits (N, C, h, w) and labels (N, 4h, 4w) uint8; 0 where no pixel has a label.

        Without full_resolution it is the loss of the pixels in row and column `phase`, each 0..3, of each 4x4 block:
        exactly those pixels' part of the full loss, at a 16th of its price. weight: of the whole batch, where these
        are a part of it, whose losses then make up the batch's; None: of these.
        """
        logits = logits.to(self._weights.dtype)
        if self._full_resolution:
            logits = F.interpolate(logits, scale_factor=STRIDE, mode="bilinear", align_corners=False)
        else:
            logits = at_phase(logits, phase)
        truth = self._counted(labels, phase).long()
        total = F.cross_entropy(logits, truth, self._weights, ignore_index=UNLABELLED, reduction="sum")
        return total / max(self.weight(labels, phase) if weight is None else weight, 1e-6)

    def weight(self, labels: Tensor, phase: tuple[int, int]) -> float:
        """Sum of the weights of labelled pixels."""
        return float(self._of_label[self._counted(labels, phase).long()].sum())

    def _counted(self, labels: Tensor, phase: tuple[int, int]) -> Tensor:
        return labels if self._full_resolution else labels[:, phase[0] :: STRIDE, phase[1] :: STRIDE]


def soft_label_loss(logits: Tensor, taught: Tensor, shifts: Sequence[tuple[int, int]], temperature: float) -> Tensor:
    """Mean divergence (Kullback and Leibler) of logits (N, C, h, w) from a teacher's, where both see the same place.

    shifts: pixels, (down, right), that each image lies beside the teacher's, multiples of STRIDE. temperature: the
    teacher's logits are divided by it.
    """
    height, width = logits.shape[2:]
    exact, losses = torch.promote_types(logits.dtype, torch.float32), []
    for student, teacher, shift in zip(logits, taught, shifts, strict=True):
        down, right = (pixels // STRIDE for pixels in shift)
        mine = student[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
        soft = teacher[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] / temperature
        log_soft = F.log_softmax(soft.to(exact), 0)
        losses.append((log_soft.exp() * (log_soft - F.log_softmax(mine.to(exact), 0))).sum(0).mean())
    return torch.stack(losses).mean()


def at_phase(logits: Tensor, phase: tuple[int, int]) -> Tensor:
    """Pixels [phase[0]::4, phase[1]::4] of the bilinear x4 upsampling of (N, C, h, w), without the others."""
    for axis, number in zip((2, 3), phase, strict=True):
        away = (number - 1.5) / STRIDE  # from the logit's centre, in logits
        size = logits.shape[axis]
        if away < 0:
            beside = torch.cat((logits.narrow(axis, 0, 1), logits.narrow(axis, 0, size - 1)), axis)
        else:
            beside = torch.cat((logits.narrow(axis, 1, size - 1), logits.narrow(axis, size - 1, 1)), axis)
        logits = torch.lerp(logits, beside, abs(away))
    return logits
