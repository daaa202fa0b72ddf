# mypy: disable-error-code="no-any-return"
"""What both branches share: maps, tokens and layer normalisation over channels.

A map is (N, C, H, W), its tokens are (N, H*W, C). Layer normalisation leaves maps in channels-last memory, where
going from map to tokens and back is a view, so nothing in the network copies to change the layout.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H*W, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H*W, C) to (N, C, H, W), size being (H, W)."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a map (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ImageDropout(nn.Module):
    """In training, leaves out at random an image's map, or single channels of it, and scales up what stays.

    rate: how often. of_batch: where a batch is learnt from in parts, how many images it has and which of them x is: it
    is drawn for all of them, so that what an image loses does not depend on the part that it is in.
    """

    def __init__(self, rate: float, *, each_channel: bool) -> None:
        super().__init__()
        self.rate, self._each_channel = rate, each_channel
        self.of_batch: tuple[int, slice] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.training or not self.rate:
            return x
        images, part = self.of_batch or (len(x), slice(None))
        drawn = torch.rand(images, x.shape[1] if self._each_channel else 1, 1, 1, device=x.device)
        return x * ((drawn[part] >= self.rate) / (1 - self.rate)).to(x.dtype)


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself, padded so that stride 1 keeps the size."""

    def __init__(self, width: int, kernel_size: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__(width, width, kernel_size, stride, kernel_size // 2, groups=width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        half = _cpu_autocast_type() if x.device.type == "cpu" and torch.is_grad_enabled() else None
        if half is not None:
            x = x.to(half).contiguous(memory_format=torch.channels_last)
            return _HalfDepthwise.apply(x, self.weight, self.bias, self.stride, self.padding)  # type: ignore[no-untyped-call]
        return super().forward(x)


def _cpu_autocast_type() -> torch.dtype | None:
    """What autocast computes in on the CPU; None where it is off."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None  # before PyTorch 2.4


class _HalfDepthwise(torch.autograd.Function):
    """Depthwise convolution of half-precision maps whose gradients are made in float32.

    oneDNN's depthwise gradients take up to ten times as long in bfloat16 as in float32.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        half_bias = None if bias is None else bias.to(x.dtype)
        return F.conv2d(x, weight.to(x.dtype), half_bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        maps = [y.float().contiguous(memory_format=torch.channels_last) for y in (gradient, x, weight)]
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.has_bias]
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            *maps, [len(weight)], ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight), wanted
        )
        return None if of_x is None else of_x.to(x.dtype), of_weight, of_bias, None, None


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Softmax attention: query (..., L, K), key (..., S, K) and value (..., S, V) to (..., L, V).

    scale: of the products, 1 / sqrt(K) where None; 1 where it is in the query's weights already.
    """
    if torch.onnx.is_in_onnx_export() and scale == 1:  # the plain products, and no nodes that multiply by 1
        return (query @ key.transpose(-1, -2)).softmax(-1) @ value
    missing = key.shape[-1] - value.shape[-1]
    if missing <= 0 or torch.onnx.is_in_onnx_export():
        return F.scaled_dot_product_attention(query, key, value, scale=scale)
    padded = F.pad(value, (0, missing))  # to one width, for which PyTorch has fused kernels
    return F.scaled_dot_product_attention(query, key, padded, scale=scale)[..., : value.shape[-1]]
