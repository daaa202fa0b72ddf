"""Exact algebra that makes a trained network cheaper to run; its answers differ by rounding only.

* Batch normalisation, whose statistics are fixed after training, becomes part of the layer before or after it.
* ConvNeXt's layer scale becomes part of the linear layer before it.
* Between each of the decoder's linear layers and the fuse convolution stands only a bilinear resize, which commutes
  with both (its weights sum to 1): the two become one linear layer before the resize. A convolution of 1024 channels
  at stride 4, the largest of the network, goes away.
* Attention's scale becomes part of the query's weights.
* Products of queries and keys stay the same when the channels of both change places alike: CMA's channel shuffle
  becomes an order of the rows of its weights.
* ConvNeXt's first convolution has no padding: the normalisation of colour becomes part of it (`fold_colour`).
"""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from asymformer_ros.network.asymformer import AsymFormer, Stage
from asymformer_ros.network.convnext import ConvNeXtBlock, ConvNeXtStage, LayerScale
from asymformer_ros.network.decoder import Decoder, map_linear, resize
from asymformer_ros.network.efficientnet import ConvNorm
from asymformer_ros.network.fusion import Cma, Fusion
from asymformer_ros.network.layers import attend, to_map, to_tokens
from asymformer_ros.network.mix_transformer import EfficientSelfAttention


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
        elif isinstance(module, EfficientSelfAttention):
            _scale_outputs(module.query, torch.tensor((module.query.out_features / module.heads) ** -0.5))
            module.scale = 1.0
        elif isinstance(module, Fusion):
            conv = cast(nn.Conv2d, module.reduce[0])
            _fold_norm(conv, cast(nn.BatchNorm2d, module.reduce[1]))
            module.reduce = nn.Sequential(conv)
            module.correlate = FoldedCma(cast(Cma, module.correlate))
    folded.decoder = FoldedDecoder(cast(Decoder, folded.decoder))
    return folded


@torch.no_grad()
def fold_colour(folded: AsymFormer, scale: Tensor, shift: Tensor) -> bool:
    """Let a folded network take raw colour, of which `colour * scale + shift`, both (3,), is normalised.

    Returns False, and changes nothing, where its first convolution is padded: what is padded is no colour.
    """
    stage = cast(Stage, folded.stages[0]).rgb
    if not isinstance(stage, ConvNeXtStage):
        return False
    stem = cast(nn.Conv2d, stage.downsample[0])
    cast(Tensor, stem.bias).add_(stem.weight.sum(dim=(2, 3)) @ shift)
    stem.weight.mul_(scale.view(1, 3, 1, 1))
    return True


class FoldedCma(nn.Module):
    """`Cma` without normalisations, channel shuffle and scale."""

    def __init__(self, cma: Cma) -> None:
        super().__init__()
        self.depth_key_query = _folded_key_query(cma.depth_key_query, cast(nn.BatchNorm2d, cma.depth_norm))
        self.rgb_key_query = _folded_key_query(cma.rgb_key_query, cast(nn.BatchNorm2d, cma.rgb_norm))
        self.value, self.project = cma.value, cma.project
        scale, shift = _affine(cast(nn.BatchNorm2d, cma.norm))
        _scale_outputs(self.project, scale)
        self.project.bias.add_(shift)

    def forward(self, fused: Tensor, depth: Tensor, rgb: Tensor) -> Tensor:
        """fused and depth (N, D, H, W), rgb (N, R, H, W) to (N, D, H, W)."""
        parts = [
            linear(to_tokens(x)).unflatten(-1, (4, -1))  # (N, H*W, 4, R/8)
            for linear, x in ((self.depth_key_query, depth), (self.rgb_key_query, rgb))
        ]
        key, query = torch.cat(parts, dim=-1).transpose(1, 2).split(2, dim=1)  # each (N, 2, H*W, R/4)
        tokens = to_tokens(fused)
        value = self.value(tokens).unflatten(-1, (2, -1)).transpose(1, 2)  # (N, 2, H*W, D/4)
        seen = attend(query, key, value, scale=1).transpose(1, 2).flatten(2)  # (N, H*W, D/2)
        return to_map(tokens + self.project(seen), (fused.shape[2], fused.shape[3]))


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


def _folded_key_query(linear: nn.Linear, norm: nn.BatchNorm2d) -> nn.Linear:
    """The layer with the normalisation before it, and its outputs in the order key 1, key 2, query 1, query 2.

    Cma's shuffle would take them by turns with those of the other modality, which one half of each key and query gets
    here instead: there, the quarters are key 1, query 1, key 2, query 2.
    """
    scale, shift = _affine(norm)
    bias = linear.bias + linear.weight @ shift
    weight, bias = (_keys_first(x) for x in (linear.weight * scale, bias))
    queries, width = slice(len(bias) // 2, None), len(bias) // 2  # of a key or query, with both modalities' channels
    weight[queries] *= width**-0.5
    bias[queries] *= width**-0.5
    return _linear(weight, bias)


def _keys_first(rows: Tensor) -> Tensor:
    return rows.unflatten(0, (2, 2, -1)).transpose(0, 1).flatten(0, 2)


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
