"""Learning rate of each step, and which weights decay."""

from __future__ import annotations

import torch
from torch import nn

from asymformer_ros.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Of one step, counted from 0: linear warm-up, then a polynomial to 0 after the last epoch's last step.

    The warm-up takes a quarter of all steps at most, so that a short training has its fall, too.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 4)
    if step < warmup:
        share = step / warmup
        return recipe.learning_rate * (recipe.warmup_factor * (1 - share) + share)
    return recipe.learning_rate * float(max(0.0, 1 - (step - warmup) / (total - warmup)) ** recipe.power)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that lets only matrices and kernels decay: norms, biases and layer scales are vectors, and do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)
