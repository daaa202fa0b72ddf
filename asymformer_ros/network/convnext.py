# mypy: disable-error-code="no-any-return"
"""RGB branch: ConvNeXt (Liu et al., 2022, section 2), without its final norm and head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asymformer_ros.network.layers import ChannelLayerNorm, DepthwiseConv2d

INITIAL_SCALE = 0.1
"""Where `gamma` starts: the value that CaiT (Touvron et al., 2021, section 2) uses for networks of up to 18 blocks."""


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, layer norm, linear to four times the width and back, layer scale, residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(width, kernel_size=7)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.project = nn.Linear(4 * width, width)
        self.scale: nn.Module = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)  # (N, H, W, C)
        y = self.scale(self.project(self.activation(self.expand(self.norm(y)))))
        return x + y.permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    """One learnt factor for each channel of (..., C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), INITIAL_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class ConvNeXtStage(nn.Sequential):
    """Downsampling by 4 (the first stage's stem) or 2, then blocks: (N, C_in, H, W) to (N, width, H/s, W/s)."""

    def __init__(self, in_width: int, width: int, blocks: int, *, first: bool) -> None:
        super().__init__()
        if first:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_width, width, kernel_size=4, stride=4), ChannelLayerNorm(width, eps=1e-6)
            )
        else:
            self.downsample = nn.Sequential(
                ChannelLayerNorm(in_width, eps=1e-6), nn.Conv2d(in_width, width, kernel_size=2, stride=2)
            )
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(blocks)))
