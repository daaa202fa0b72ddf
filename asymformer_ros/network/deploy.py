"""Exact algebra that makes a trained network cheaper to run; its answers differ by rounding only.

* Batch normalisation, whose statistics are fixed after training, becomes part of the layer before or after it.
* ConvNeXt's layer scale becomes part of the linear layer before it.
* Between each of the decoder's linear layers and the fuse convolution stands only a bilinear resize, which commutes
  with both (its weights sum to 1): the two become one linear layer before the resize. A convolution of 1024 channels
  at stride 4, the largest of the network, goes away.
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from asymformer_ros.network.asymformer import AsymFormer
from asymformer_ros.network.convnext import ConvNeXtBlock, LayerScale
from asymformer_ros.network.decoder import Decoder, map_linear, resize
from asymformer_ros.network.efficientnet import ConvNorm
from asymformer_ros.network.fusion import Cma, Fusion


@torch.no_grad()
def fold(network: AsymFormer) -> AsymFormer:
    """The same function in fewer operations: a copy for inference only, in evaluation mode, with another state dict."""
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(folded.modules()):
        if isinstance(module, ConvNeXtBlock):
            _scale_outputs(module.project, cast(LayerScale, module.scale).gamma)
            module.scale = nn.Identity()
        elif isinstance(module, ConvNorm):
            _fold_norm(module.conv, module.norm)
            del module.norm
        elif isinstance(module, Fusion):
            conv = cast(nn.Conv2d, module.reduce[0])
            _fold_norm(conv, cast(nn.BatchNorm2d, module.reduce[1]))
            module.reduce = nn.Sequential(conv)
        elif isinstance(module, Cma):
            _fold_cma(module)
    folded.decoder = FoldedDecoder(cast(Decoder, folded.decoder))
    return folded


class FoldedDecoder(nn.Module):
    """`Decoder` with the fuse convolution done at each map's own stride."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        conv = cast(nn.Conv2d, decoder.fuse[0])
        scale, shift = _affine(cast(nn.BatchNorm2d, decoder.fuse[1]))
        fuse = scale[:, None] * conv.weight[:, :, 0, 0]  # (width, 4 * width), coarsest map first
        parts = reversed(fuse.chunk(len(decoder.embed), dim=1))
        linears = [cast(nn.Linear, embed) for embed in decoder.embed]
        self.embed = nn.ModuleList(
            _linear(part @ linear.weight, part @ linear.bias) for linear, part in zip(linears, parts, strict=True)
        )
        cast(nn.Linear, self.embed[0]).bias.add_(scale * cast(Tensor, conv.bias) + shift)
        self.activation = nn.ReLU(inplace=True)
        self.classify = decoder.classify

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """maps (N, C_i, H/4/2^i, W/4/2^i) to (N, classes, H/4, W/4)."""
        size = (maps[0].shape[2], maps[0].shape[3])
        finest, *coarser = [map_linear(embed, x) for embed, x in zip(self.embed, maps, strict=True)]
        for x in coarser:
            finest = finest + resize(x, size)
        return self.classify(self.activation(finest))


def _fold_cma(cma: Cma) -> None:
    for norm, linear in ((cma.depth_norm, cma.depth_key_query), (cma.rgb_norm, cma.rgb_key_query)):
        scale, shift = _affine(cast(nn.BatchNorm2d, norm))
        linear.bias.add_(linear.weight @ shift)
        linear.weight.mul_(scale)
    scale, shift = _affine(cast(nn.BatchNorm2d, cma.norm))
    _scale_outputs(cma.project, scale)
    cma.project.bias.add_(shift)
    cma.depth_norm, cma.rgb_norm, cma.norm = nn.Identity(), nn.Identity(), nn.Identity()


def _fold_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Of a convolution without bias."""
    scale, shift = _affine(norm)
    _scale_outputs(conv, scale)
    conv.bias = nn.Parameter(shift, requires_grad=False)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) that batch normalisation is, once its statistics are fixed."""
    scale = norm.weight * torch.rsqrt(cast(Tensor, norm.running_var) + norm.eps)
    return scale, norm.bias - scale * cast(Tensor, norm.running_mean)


def _scale_outputs(layer: nn.Linear | nn.Conv2d, scale: Tensor) -> None:
    layer.weight.mul_(scale.view(-1, *(1,) * (layer.weight.ndim - 1)))
    if layer.bias is not None:
        layer.bias.mul_(scale)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return linear
