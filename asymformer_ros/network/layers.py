# mypy: disable-error-code="no-any-return"
"""What both branches share: maps, tokens and layer normalisation over channels.

A map is (N, C, H, W), its tokens are (N, H*W, C). Layer normalisation leaves maps in channels-last memory, where
going from map to tokens and back is a view, so nothing in the network copies to change the layout.
"""

from __future__ import annotations

from torch import Tensor, nn


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H*W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H*W, C) to (N, C, H, W), size being (H, W)."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a map (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
