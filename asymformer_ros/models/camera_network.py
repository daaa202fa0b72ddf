# mypy: disable-error-code="no-any-return"
"""A network together with its normalisation: what serves, what is exported, and what training feeds."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.normalization import Normalization
from asymformer_ros.models.signature import camera_feeds
from asymformer_ros.network.deploy import fold, fold_colour


def normalized_colour(rgb: Tensor, normalization: Normalization) -> Tensor:
    """rgb (N, H, W, 3) uint8 to (N, 3, H, W) float32."""
    scale, shift = (torch.tensor(values, device=rgb.device) for values in normalization.colour)
    return (rgb.float() * scale + shift).permute(0, 3, 1, 2)


def normalized_depth(depth: Tensor, normalization: Normalization, dtype: torch.dtype = torch.float32) -> Tensor:
    """depth (N, H, W, 2) uint8, millimetres as `depth_bytes` packs them, to (N, 1, H, W).

    No value on the way is larger than the metres themselves, so that FP16 holds them all.
    """
    scale, shift = normalization.millimetres
    low, high = depth.to(dtype).permute(0, 3, 1, 2).split(1, dim=1)
    return low * scale + (high * (256 * scale) + shift)


@torch.inference_mode()
def plain_labels(bundle: ModelBundle, rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Labels (h, w) of one frame by the network as it was trained, unfolded: what every other form is measured by.

    rgb (h, w, 3) uint8 and depth (h, w) float32 metres, NaN where unknown, of the card's input size.
    """
    images, normalization = camera_feeds(rgb, depth), bundle.card.normalization
    colour = normalized_colour(torch.from_numpy(images["rgb"]), normalization)
    logits = bundle.network.eval()(colour, normalized_depth(torch.from_numpy(images["depth"]), normalization))
    return cast(NDArray[np.uint8], logits[0].argmax(0).to(torch.uint8).numpy())


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
        for name, values in zip(("scale", "shift"), normalization.colour, strict=True):
            self.register_buffer(name, torch.tensor(values), persistent=False)  # a CUDA graph takes none from the host

    def forward(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = cast(Tensor, self.scale), cast(Tensor, self.shift)
        colour = rgb.to(scale.dtype)
        if not self._takes_raw:
            colour = colour * scale + shift
        return colour.permute(0, 3, 1, 2), normalized_depth(depth, self._normalization, scale.dtype)
