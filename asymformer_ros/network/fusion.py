# mypy: disable-error-code="no-any-return"
"""Fusion of a depth and an RGB stage: LAFS, then CMA (AsymFormer, sections III-C and III-D; "SCC" in checkpoints)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asymformer_ros.network.layers import attend, to_map, to_tokens


class Lafs(nn.Module):
    """Local Attention-Guided Feature Selection: weighs each place and each channel by what the whole map holds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = _bottleneck(width, width // 16)
        self.channel = _bottleneck(width, width // 8)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        width = x.shape[1]
        average = x.mean(dim=(2, 3))  # (N, C)
        # Each factor of the product is divided by C, not the sum by C*C, which FP16 cannot hold.
        query = self.spatial(average) / width
        similarity = query[:, None] @ x.flatten(2) / width  # (N, 1, H*W)
        where = torch.sigmoid(similarity).unflatten(-1, x.shape[2:])  # (N, 1, H, W)
        which = torch.sigmoid(self.channel(average))[:, :, None, None]  # (N, C, 1, 1)
        return x * which * where


def _bottleneck(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False))


class Cma(nn.Module):
    """Cross-Modal Attention: where to look is asked of both modalities, what is seen comes from their fusion."""

    def __init__(self, depth_width: int, rgb_width: int) -> None:
        super().__init__()
        self.depth_norm: nn.Module = nn.BatchNorm2d(depth_width)
        self.rgb_norm: nn.Module = nn.BatchNorm2d(rgb_width)
        self.depth_key_query = nn.Linear(depth_width, rgb_width // 2)
        self.rgb_key_query = nn.Linear(rgb_width, rgb_width // 2)
        self.value = nn.Linear(depth_width, depth_width // 2)
        self.project = nn.Linear(depth_width // 2, depth_width)
        self.norm: nn.Module = nn.BatchNorm2d(depth_width)

    def forward(self, fused: Tensor, depth: Tensor, rgb: Tensor) -> Tensor:
        """fused and depth (N, D, H, W), rgb (N, R, H, W) to (N, D, H, W)."""
        key_query = _shuffle(
            self.depth_key_query(to_tokens(self.depth_norm(depth))), self.rgb_key_query(to_tokens(self.rgb_norm(rgb)))
        )  # (N, H*W, R): key 1, query 1, key 2, query 2
        key, query = key_query.unflatten(-1, (2, 2, -1)).permute(3, 0, 2, 1, 4)  # each (N, 2, H*W, R/4)
        value = self.value(to_tokens(fused)).unflatten(-1, (2, -1)).transpose(1, 2)  # (N, 2, H*W, D/4)
        seen = attend(query, key, value).transpose(1, 2).flatten(2)  # (N, H*W, D/2)
        size = (fused.shape[2], fused.shape[3])
        return fused + self.norm(to_map(self.project(seen), size))


def _shuffle(depth: Tensor, rgb: Tensor) -> Tensor:
    """Channel shuffle in two groups: depth's and RGB's channels by turns, so that each quarter holds both."""
    return torch.stack((depth, rgb), dim=-1).flatten(-2)


class Fusion(nn.Module):
    """LAFS over both maps, a 1x1 convolution to the depth branch's width, CMA."""

    def __init__(self, depth_width: int, rgb_width: int) -> None:
        super().__init__()
        self.select = Lafs(depth_width + rgb_width)
        self.reduce = nn.Sequential(
            nn.Conv2d(depth_width + rgb_width, depth_width, kernel_size=1, bias=False), nn.BatchNorm2d(depth_width)
        )
        self.correlate: nn.Module = Cma(depth_width, rgb_width)

    def forward(self, depth: Tensor, rgb: Tensor) -> Tensor:
        """depth (N, D, H, W) and rgb (N, R, H, W) to (N, D, H, W)."""
        fused = self.reduce(self.select(torch.cat((depth, rgb), dim=1)))
        return self.correlate(fused, depth, rgb)
