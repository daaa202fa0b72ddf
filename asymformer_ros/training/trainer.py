"""The network, its optimiser and its average: one step of training, and the state that it can be continued from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from asymformer_ros.errors import AsymformerError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.network import AsymFormer
from asymformer_ros.training.average import averaged_copy, update_average
from asymformer_ros.training.batches import Batch
from asymformer_ros.training.branch import AuxiliaryClassifiers, prepare_branch
from asymformer_ros.training.half import half_type
from asymformer_ros.training.loss import BalancedLoss, soft_label_loss
from asymformer_ros.training.plan import Plan
from asymformer_ros.training.recipe import STRIDE
from asymformer_ros.training.schedule import branch_factor, learning_rate, make_optimizer


@dataclass(frozen=True)
class Step:
    """What one step of training was like."""

    loss: float
    learning_rate: float


class Trainer:
    """Trains a network in place; in half precision where `half_type` says so.

    All that is random in a step follows from the seed and the step's number, so that a continued training is the same.
    """

    def __init__(
        self,
        network: AsymFormer,
        plan: Plan,
        loss: BalancedLoss,
        steps_per_epoch: int,
        teacher: ModelBundle | None = None,
    ) -> None:
        """teacher: of the plan's classes; None, where the recipe has one: the average itself."""
        self._device = next(network.parameters()).device
        self.network = network
        if self._device.type == "cpu":
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
        prepare_branch(network, plan.recipe.rgb_branch)
        self.average = averaged_copy(network)
        self._teacher = teacher.network.to(self._device) if teacher else self.average
        self._teachers_normalization = teacher.card.normalization if teacher else plan.normalization
        self.step = 0
        self._plan, self._recipe, self._loss, self._steps_per_epoch = plan, plan.recipe, loss, steps_per_epoch
        self._auxiliary = _auxiliary(network, plan)
        self._trained = nn.ModuleDict({"network": network, "auxiliary": self._auxiliary})
        self._optimizer = make_optimizer(self._trained, self._recipe)
        self._half = half_type(self._device)
        self._scaler = _scaler(self._device, enabled=self._half is torch.float16)

    def train(self, batch: Batch) -> Step:
        """One step. Raises AsymformerError where the loss is not finite."""
        rate = learning_rate(self._recipe, self.step, self._steps_per_epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * branch_factor(self._recipe, group["branch"], self.step, self._steps_per_epoch)
        torch.manual_seed(self._plan.seed * 1_000_003 + self.step)
        phase = tuple(torch.randint(STRIDE, (2,)).tolist())
        logits, auxiliary = self._logits(batch)
        labels = batch.labels.to(self._device)
        loss = self._loss(logits.float(), labels, phase)
        value = float(loss.detach())
        for other in auxiliary:
            loss = loss + self._recipe.rgb_branch.auxiliary * self._loss(other.float(), labels, phase)
        if batch.taught:
            loss = loss + self._recipe.teacher.weight * self._divergence(logits, batch.taught, batch.shifts)
        if not math.isfinite(value):
            raise AsymformerError(
                f"the loss of step {self.step} is {value}: begin again in another folder with a lower --learning-rate"
            )
        self._descend(loss)
        update_average(self.average, self.network, self.step, self._recipe.average_decay)
        self.step += 1
        return Step(value, rate)

    def _logits(self, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Of the network and of the auxiliary classifiers, at stride 4."""
        rgb, depth = batch.inputs(self._plan.normalization, self._device)
        with torch.autocast(self._device.type, self._half, enabled=self._half is not None):
            maps = self.network.features(rgb, depth)
            logits = self.network.decoder([fused for _, fused in maps])
            return logits, self._auxiliary([of_rgb for of_rgb, _ in maps]) if self._recipe.rgb_branch.auxiliary else []

    def _divergence(self, logits: torch.Tensor, taught: Batch, shifts: Sequence[tuple[int, int]]) -> torch.Tensor:
        rgb, depth = taught.inputs(self._teachers_normalization, self._device)
        with torch.no_grad(), torch.autocast(self._device.type, self._half, enabled=self._half is not None):
            teachers = self._teacher.forward_stride4(rgb, depth)
        return soft_label_loss(logits, teachers, shifts, self._recipe.teacher.temperature)

    def _descend(self, loss: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self._recipe.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._trained.parameters(), self._recipe.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Tensors and numbers, for `torch.save`."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "auxiliary": self._auxiliary.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._auxiliary.load_state_dict(state["auxiliary"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # there is none where the training was on a CPU until now
            self._scaler.load_state_dict(state["scaler"])


def _scaler(device: torch.device, *, enabled: bool) -> torch.amp.GradScaler:
    """Of the loss, so that its gradients are not too small for float16."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device.type, enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)  # before PyTorch 2.3


def _auxiliary(network: AsymFormer, plan: Plan) -> AuxiliaryClassifiers | nn.ModuleList:
    """Their random weights follow from the seed; none where the recipe has no loss for them."""
    if not plan.recipe.rgb_branch.auxiliary:
        return nn.ModuleList()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        return AuxiliaryClassifiers(network).to(next(network.parameters()).device)
