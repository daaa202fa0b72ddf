# mypy: disable-error-code="no-any-return"
"""Decoder: SegFormer's all-MLP head (Xie et al., 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asymformer_ros.network.layers import to_map, to_tokens

DROPOUT = 0.1


class Decoder(nn.Module):
    """Four maps of strides 4, 8, 16 and 32 to class logits at stride 4."""

    def __init__(self, in_widths: Sequence[int], width: int, num_classes: int) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(in_width, width) for in_width in in_widths)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(in_widths) * width, width, kernel_size=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classify = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """maps (N, C_i, H/4/2^i, W/4/2^i) to (N, classes, H/4, W/4)."""
        size = (maps[0].shape[2], maps[0].shape[3])
        embedded = [resize(map_linear(embed, x), size) for embed, x in zip(self.embed, maps, strict=True)]
        fused = self.fuse(torch.cat(embedded[::-1], dim=1))  # coarsest first; (N, width, H/4, W/4)
        return self.classify(self.dropout(fused))


def map_linear(linear: nn.Module, x: Tensor) -> Tensor:
    """A linear layer at each place of a map: (N, C_in, H, W) to (N, C_out, H, W)."""
    return to_map(linear(to_tokens(x)), (x.shape[2], x.shape[3]))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) to (N, C, *size), bilinear, pixel centres aligned."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
