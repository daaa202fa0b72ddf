"""The network, its optimiser and its average: one step of training, and the state that it can be continued from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from asymformer_ros.errors import AsymformerError
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.network import AsymFormer
from asymformer_ros.training.average import averaged_copy, update_average
from asymformer_ros.training.batches import Batch
from asymformer_ros.training.loss import STRIDE, BalancedLoss
from asymformer_ros.training.recipe import Recipe
from asymformer_ros.training.schedule import learning_rate, make_optimizer


@dataclass(frozen=True)
class Step:
    """What one step of training was like."""

    loss: float
    learning_rate: float


class Trainer:
    """Trains a network in place; FP16 where it is on CUDA.

    All chance of a step follows from the seed and the step's number, so that a continued training is the same.
    """

    def __init__(
        self, network: AsymFormer, recipe: Recipe, loss: BalancedLoss, steps_per_epoch: int, seed: int
    ) -> None:
        self.network = network.train()
        self.average = averaged_copy(network)
        self.step = 0
        self._device = next(network.parameters()).device
        self._recipe, self._loss, self._steps_per_epoch, self._seed = recipe, loss, steps_per_epoch, seed
        self._optimizer = make_optimizer(network, recipe)
        self._half = self._device.type == "cuda"
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._half)

    def train(self, batch: Batch) -> Step:
        """One step. Raises AsymformerError where the loss is not finite."""
        rate = learning_rate(self._recipe, self.step, self._steps_per_epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(self._seed * 1_000_003 + self.step)
        row, column = torch.randint(STRIDE, (2,)).tolist()
        rgb, depth = batch.inputs(PUBLISHED_NORMALIZATION, self._device)
        with torch.autocast(self._device.type, torch.float16, enabled=self._half):
            logits = self.network.forward_stride4(rgb, depth)
        loss = self._loss(logits.float(), batch.labels.to(self._device), (row, column))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AsymformerError(
                f"the loss of step {self.step} is {value}: begin again in another folder with a lower --learning-rate"
            )
        self._descend(loss)
        update_average(self.average, self.network, self.step, self._recipe.average_decay)
        self.step += 1
        return Step(value, rate)

    def _descend(self, loss: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self._recipe.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._recipe.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Tensors and numbers, for `torch.save`."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # there is none where the training was on a CPU until now
            self._scaler.load_state_dict(state["scaler"])
