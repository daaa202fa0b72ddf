# mypy: disable-error-code="no-any-return"
"""Decoder: SegFormer's all-MLP head (Xie et al., 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asymformer_ros.network.layers import ImageDropout, to_map, to_tokens

DROPOUT = 0.1


class Decoder(nn.Module):
    """Four maps of strides 4, 8, 16 and 32 to class logits at stride 4."""

    def __init__(self, in_widths: Sequence[int], width: int, num_classes: int) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(in_width, width) for in_width in in_widths)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(in_widths) * width, width, kernel_size=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.dropout = ImageDropout(DROPOUT, each_channel=True)
        self.classify = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """maps (N, C_i, H/4/2^i, W/4/2^i) to (N, classes, H/4, W/4)."""
        fused = self.fuse[2](self.fuse[1](self._mix(maps)))
        return self.classify(self.dropout(fused))

    def _mix(self, maps: Sequence[Tensor]) -> Tensor:
        """The fuse convolution over all embedded maps at stride 4, each map's share of it done at its own stride.

        Linear layer, resize (whose weights sum to 1) and 1x1 convolution commute. In the order of the figure most of
        the decoder's time goes into a convolution of 4 * width channels at stride 4.
        """
        size, conv = (maps[0].shape[2], maps[0].shape[3]), cast(nn.Conv2d, self.fuse[0])
        parts = reversed(conv.weight[:, :, 0, 0].chunk(len(self.embed), dim=1))  # coarsest map first
        mixed, bias = torch.zeros(()), cast(Tensor, conv.bias)
        for x, embed, part in zip(maps, cast(Iterable[nn.Linear], self.embed), parts, strict=True):
            with torch.autocast(x.device.type, enabled=False):
                weight, bias = part @ embed.weight, bias + part @ embed.bias
            mixed = mixed + upsample(F.linear(x.permute(0, 2, 3, 1), weight), size)  # (N, H/4, W/4, width)
        return (mixed + bias).permute(0, 3, 1, 2)


def map_linear(linear: nn.Module, x: Tensor) -> Tensor:
    """A linear layer at each place of a map: (N, C_in, H, W) to (N, C_out, H, W)."""
    return to_map(linear(to_tokens(x)), (x.shape[2], x.shape[3]))


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h, w, C) to (N, *size, C), as `resize` does, but by two products: on a CPU its gradient is much cheaper."""
    if x.shape[1:3] == size:
        return x
    count, height, width, channels = x.shape
    rows, columns = (_bilinear(to, old).to(x) for to, old in zip(size, (height, width), strict=True))
    x = (rows @ x.reshape(count, height, width * channels)).reshape(count * size[0], width, channels)
    return (columns @ x).reshape(count, *size, channels)


@cache
def _bilinear(new: int, old: int) -> Tensor:
    """(new, old) matrix of a bilinear resize of one axis."""
    with torch.inference_mode(False):  # the matrix may be used in training later, where inference tensors may not
        return F.interpolate(torch.eye(old)[None], size=new, mode="linear", align_corners=False)[0].T.contiguous()


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) to (N, C, *size), bilinear, pixel centres aligned."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
