"""Batch normalisation over the images of all processes."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from asymformer_ros.training.processes import sum_of_all


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose statistics, in training, are those of all processes' images.

    PyTorch's SyncBatchNorm does not run on a CPU.
    """

    @staticmethod
    def of(norm: nn.BatchNorm2d) -> SharedBatchNorm:
        shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum).to(norm.weight)
        shared.load_state_dict(norm.state_dict())
        return shared

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape; N may differ between processes."""
        if not self.training:
            return super().forward(x)
        values = x.to(self.weight.dtype)
        own_pixels = values.new_full((1,), x.numel() // x.shape[1])
        sums = sum_of_all(torch.cat((values.sum((0, 2, 3)), own_pixels)))
        pixels = sums[-1]
        mean = sums[:-1] / pixels
        centred = values - mean[:, None, None]
        variance = sum_of_all(centred.square().sum((0, 2, 3))) / pixels
        self._remember(mean, variance * pixels / (pixels - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            cast(Tensor, kept).lerp_(new, cast(float, self.momentum))
        cast(Tensor, self.num_batches_tracked).add_(1)


def share_statistics(network: nn.Module) -> None:
    """Put a SharedBatchNorm, with its weights and statistics, in the place of each batch normalisation."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, SharedBatchNorm.of(child))
