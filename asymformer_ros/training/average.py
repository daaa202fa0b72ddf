"""Moving average of a network's weights, which is what is evaluated and kept."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def averaged_copy(network: Network) -> Network:
    """A copy in evaluation mode, without gradients, for `update_average`."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move the average, batch statistics included, towards the weights after step (counted from 0).

    The decay grows from 0.1 to `decay`, so that the random start is soon forgotten.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    state = network.state_dict()
    floats = [key for key, tensor in state.items() if tensor.is_floating_point()]
    kept = average.state_dict()
    torch._foreach_lerp_([kept[key] for key in floats], [state[key] for key in floats], share)
    for key in state.keys() - set(floats):
        kept[key].copy_(state[key])
