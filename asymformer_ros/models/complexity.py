"""How large a network is, and how much it computes."""

from __future__ import annotations

from dataclasses import dataclass

from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.optional import importing

with importing("torch", "counting a network's parameters and operations"):
    import torch
    from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Complexity:
    """parameters: numbers that were learned. flops: of one image; a multiplication and its addition are two."""

    parameters: int
    flops: int


def complexity(bundle: ModelBundle, size: tuple[int, int]) -> Complexity:
    """Of a network at an input size (height, width), by PyTorch's own counter: matrix products and convolutions."""
    height, width = size
    network = bundle.network.cpu().float().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, height, width), torch.zeros(1, 1, height, width))
    return Complexity(sum(one.numel() for one in network.parameters()), int(counter.get_total_flops()))
