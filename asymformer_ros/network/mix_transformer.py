# mypy: disable-error-code="no-any-return"
"""Depth branch: Mix Transformer (SegFormer, Xie et al., 2021, section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn

from asymformer_ros.network.layers import ChannelLayerNorm, DepthwiseConv2d, attend, to_map, to_tokens


class EfficientSelfAttention(nn.Module):
    """Multi-head attention whose keys and values come from a map `reduction` times smaller on each side."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale: float | None = None
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.reduce = nn.Identity() if reduction == 1 else SpatialReduction(width, reduction)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """tokens (N, H*W, C) to the same shape, size being (H, W)."""
        query = self._split_heads(self.query(tokens))  # (N, heads, H*W, C/heads)
        small = to_tokens(self.reduce(to_map(tokens, size)))  # (N, H*W/reduction^2, C)
        key, value = (self._split_heads(x) for x in self.key_value(small).split(tokens.shape[-1], dim=-1))
        attended = attend(query, key, value, self.scale)
        return self.project(attended.transpose(1, 2).flatten(2))

    def _split_heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class SpatialReduction(nn.Sequential):
    """Convolution of kernel = stride = reduction, then layer norm: (N, C, H, W) to (N, C, H/reduction, W/reduction)."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel_size=reduction, stride=reduction)
        self.norm = ChannelLayerNorm(width, eps=1e-5)


class MixFeedForward(nn.Module):
    """Linear to four times the width, depthwise 3x3 (which stands for a position embedding), GELU, linear back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 4 * width
        self.expand = nn.Linear(width, hidden)
        self.depthwise = DepthwiseConv2d(hidden, kernel_size=3)
        self.activation = nn.GELU()
        self.project = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """tokens (N, H*W, C) to the same shape, size being (H, W)."""
        hidden = self.depthwise(to_map(self.expand(tokens), size))  # (N, 4C, H, W)
        return self.project(self.activation(to_tokens(hidden)))


class MixTransformerBlock(nn.Module):
    """Pre-norm attention and Mix-FFN, each with a residual."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = EfficientSelfAttention(width, heads, reduction)
        self.feed_forward_norm = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward = MixFeedForward(width)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """tokens (N, H*W, C) to the same shape, size being (H, W)."""
        tokens = tokens + self.attention(self.attention_norm(tokens), size)
        return tokens + self.feed_forward(self.feed_forward_norm(tokens), size)


class PatchEmbedding(nn.Sequential):
    """Overlapping patches: strided convolution, then layer norm."""

    def __init__(self, in_width: int, width: int, *, first: bool) -> None:
        super().__init__()
        kernel, stride = (7, 4) if first else (3, 2)
        self.conv = nn.Conv2d(in_width, width, kernel_size=kernel, stride=stride, padding=kernel // 2)
        self.norm = ChannelLayerNorm(width, eps=1e-5)


class MixTransformerStage(nn.Module):
    """Patch embedding by 4 (the first stage) or 2, blocks, norm: (N, C_in, H, W) to (N, width, H/s, W/s)."""

    def __init__(self, in_width: int, width: int, blocks: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.embed = PatchEmbedding(in_width, width, first=in_width == 1)
        self.blocks = nn.ModuleList(MixTransformerBlock(width, heads, reduction) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        size = (x.shape[2], x.shape[3])
        tokens = to_tokens(x)
        for block in self.blocks:
            tokens = block(tokens, size)
        return to_map(self.norm(tokens), size)
