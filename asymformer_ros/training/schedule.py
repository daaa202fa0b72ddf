"""Learning rate of each step, and which weights decay."""

from __future__ import annotations

import re

import torch
from torch import nn

from asymformer_ros.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Of one step, counted from 0: linear warm-up, constant, then a polynomial to 0 after the last epoch's last step.

    The warm-up takes a quarter of all steps at most, so that a short training has its fall, too.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 4)
    if step < warmup:
        share = step / warmup
        return recipe.learning_rate * (recipe.warmup_factor * (1 - share) + share)
    fall = warmup + round(recipe.hold * (total - warmup))
    if step < fall:
        return recipe.learning_rate
    return recipe.learning_rate * float(max(0.0, 1 - (step - fall) / max(1, total - fall)) ** recipe.power)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that lets only matrices and kernels decay: norms, biases and layer scales are vectors, and do not.

    Each group's `branch` says whose weights it has: rgb, depth or other.
    """
    groups = []
    for branch in ("rgb", "depth", "other"):
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad and branch_of(name) == branch]
        for decays in (True, False):
            parameters = [p for _, p in named if (p.ndim > 1) == decays]
            decay = recipe.weight_decay if decays else 0.0
            groups.append({"params": parameters, "weight_decay": decay, "branch": branch})
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)


def branch_of(name: str) -> str:
    """rgb or depth for the parameters of these branches, by their name in a state dict, else other."""
    found = re.search(r"(?:^|\.)stages\.\d\.(rgb|depth)\.", name)
    return found[1] if found else "other"


def branch_factor(recipe: Recipe, branch: str, step: int, steps_per_epoch: int) -> float:
    """Of the learning rate of one step, for the weights of a branch as `branch_of` names it."""
    if branch == "rgb":
        thawed = step >= recipe.rgb_branch.frozen_epochs * steps_per_epoch
        return recipe.rgb_branch.rate if thawed else 0.0
    return recipe.depth_rate if branch == "depth" else 1.0
