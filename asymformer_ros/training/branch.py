"""The RGB branch in training: what of it is kept, what is dropped at random, and classifiers of its own."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from asymformer_ros.network import AsymFormer
from asymformer_ros.network.asymformer import Stage
from asymformer_ros.network.decoder import upsample
from asymformer_ros.network.efficientnet import InvertedResidual
from asymformer_ros.training.recipe import RgbBranch


def prepare_branch(network: AsymFormer, recipe: RgbBranch) -> None:
    """Put a network into training mode, with the stages frozen, statistics fixed and paths dropped as the recipe says.

    A frozen stage's statistics are fixed, too.
    """
    network.train()
    branches = [cast(Stage, stage).rgb for stage in network.stages]
    for branch in branches[: recipe.frozen_stages]:
        branch.requires_grad_(False)
    for number, branch in enumerate(branches):
        if recipe.fixed_statistics or number < recipe.frozen_stages:
            for module in branch.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
    blocks = [module for branch in branches for module in branch.modules() if isinstance(module, InvertedResidual)]
    for number, block in enumerate(blocks):
        block.drop_path.rate = recipe.drop_path * number / len(blocks)


class AuxiliaryClassifiers(nn.ModuleList):
    """A linear classifier on each of the RGB branch's last two stages."""

    def __init__(self, network: AsymFormer) -> None:
        config = network.config
        super().__init__(nn.Conv2d(width, config.num_classes, kernel_size=1) for width in config.rgb_widths[2:])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of the four stages (N, C_i, H/4/2^i, W/4/2^i) to logits, each (N, classes, H/4, W/4)."""
        size = (maps[0].shape[2], maps[0].shape[3])
        return [
            upsample(classify(x).permute(0, 2, 3, 1), size).permute(0, 3, 1, 2)
            for classify, x in zip(self, maps[2:], strict=True)
        ]
