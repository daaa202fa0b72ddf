# mypy: disable-error-code="no-any-return"
"""A network together with its normalisation: what serves, what is exported, and what training feeds."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.normalization import Normalization
from asymformer_ros.network.deploy import fold, fold_colour


def normalized_colour(rgb: Tensor, normalization: Normalization, dtype: torch.dtype = torch.float32) -> Tensor:
    """rgb (N, H, W, 3) uint8 to (N, 3, H, W)."""
    scale, shift = (torch.tensor(values, dtype=dtype, device=rgb.device) for values in normalization.colour)
    return (rgb.to(dtype) * scale + shift).permute(0, 3, 1, 2)


def normalized_depth(depth: Tensor, normalization: Normalization, dtype: torch.dtype = torch.float32) -> Tensor:
    """depth (N, H, W, 2) uint8, millimetres as `depth_bytes` packs them, to (N, 1, H, W).

    No value on the way is larger than the metres themselves, so that FP16 holds them all.
    """
    scale, shift = normalization.millimetres
    low, high = depth.to(dtype).permute(0, 3, 1, 2).split(1, dim=1)
    return low * scale + (high * (256 * scale) + shift)


class CameraNetwork(nn.Module):
    """A bundle's network, folded, from camera images on: rgb (N, H, W, 3) uint8 and depth (N, H, W, 2) uint8."""

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        normalization = bundle.card.normalization
        self.network = fold(bundle.network)
        takes_raw = fold_colour(self.network, *(torch.tensor(values) for values in normalization.colour))
        self.preprocess = _Preprocess(normalization, takes_raw=takes_raw)

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Class scores (N, C, H, W)."""
        return self.network(*self.preprocess(rgb, depth))

    def forward_stride4(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Class scores (N, C, H/4, W/4), before the last bilinear resize."""
        return self.network.forward_stride4(*self.preprocess(rgb, depth))


class _Preprocess(nn.Module):
    """Images to what the network takes, in the type of its weights: colour as it is or normalised, depth normalised."""

    def __init__(self, normalization: Normalization, *, takes_raw: bool) -> None:
        super().__init__()
        self._normalization, self._takes_raw = normalization, takes_raw
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        norm, dtype = self._normalization, cast(Tensor, self.like).dtype
        colour = rgb.to(dtype).permute(0, 3, 1, 2) if self._takes_raw else normalized_colour(rgb, norm, dtype)
        return colour, normalized_depth(depth, norm, dtype)
