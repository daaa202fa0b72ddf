"""The network, its optimiser and its average: one step of training, and the state that it can be continued from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from asymformer_ros.errors import AsymformerError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.network import AsymFormer
from asymformer_ros.network.layers import ImageDropout
from asymformer_ros.training.average import averaged_copy, update_average
from asymformer_ros.training.batches import Batch
from asymformer_ros.training.branch import AuxiliaryClassifiers, prepare_branch
from asymformer_ros.training.half import half_type
from asymformer_ros.training.loss import BalancedLoss, soft_label_loss
from asymformer_ros.training.plan import Plan
from asymformer_ros.training.processes import ALONE, Processes, by_itself
from asymformer_ros.training.recipe import STRIDE
from asymformer_ros.training.schedule import branch_factor, learning_rate, make_optimizer
from asymformer_ros.training.shared_norm import share_statistics


@dataclass(frozen=True)
class Step:
    """What one step of training was like."""

    loss: float
    learning_rate: float


class _Whole(NamedTuple):
    """Of all processes' batch: how many images, the weight of labelled pixels, and which pixels are looked at."""

    images: int
    weight: float
    phase: tuple[int, int]


class _Student(nn.Module):
    """What learns: the network, and the auxiliary classifiers, which may be none."""

    def __init__(self, network: AsymFormer, auxiliary: nn.ModuleList) -> None:
        super().__init__()
        self.network, self.auxiliary = network, auxiliary

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits of the network and of the auxiliary classifiers, at stride 4."""
        maps = self.network.features(rgb, depth)
        logits = self.network.decoder([fused for _, fused in maps])
        return logits, self.auxiliary([of_rgb for of_rgb, _ in maps]) if len(self.auxiliary) else []


class Trainer:
    """Trains a network in place; in half precision where `half_type` says so.

    All that is random in a step follows from the seed and the step's number, so that a continued training is the same,
    and so is one with more processes.
    """

    def __init__(
        self,
        network: AsymFormer,
        plan: Plan,
        loss: BalancedLoss,
        steps_per_epoch: int,
        teacher: ModelBundle | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """teacher: of the plan's classes; None, where the recipe has one: the average itself."""
        if processes.count > 1:
            share_statistics(network)
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
        self._processes, self._parts = processes, processes.parts(self._recipe.accumulate)
        self._auxiliary = _auxiliary(network, plan)
        self._dropouts = [module for module in network.modules() if isinstance(module, ImageDropout)]
        student = _Student(network, self._auxiliary)
        self._optimizer = make_optimizer(student, self._recipe)
        self._student = processes.together(student)
        self._half = half_type(self._device)
        self._scaler = _scaler(self._device, enabled=self._half is torch.float16)

    def train(self, parts: Sequence[Batch]) -> Step:
        """One step, of this process's parts of a batch. Raises AsymformerError where the loss is not finite."""
        rate = learning_rate(self._recipe, self.step, self._steps_per_epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * branch_factor(self._recipe, group["branch"], self.step, self._steps_per_epoch)
        self._optimizer.zero_grad(set_to_none=True)
        whole = self._whole(parts)
        own = 0.0
        for number, part in enumerate(parts):
            with nullcontext() if number == len(parts) - 1 else by_itself(self._student):
                own += self._backward(part, self._parts[number], whole)
        value = float(self._processes.sum(np.array(own)))
        if not math.isfinite(value):
            raise AsymformerError(
                f"the loss of step {self.step} is {value}: begin again in another folder with a lower --learning-rate"
            )
        self._descend()
        update_average(self.average, self.network, self.step, self._recipe.average_decay)
        self.step += 1
        return Step(value, rate)

    def _whole(self, parts: Sequence[Batch]) -> _Whole:
        row, column = np.random.default_rng((self._plan.seed, self.step)).integers(STRIDE, size=2).tolist()
        own = [(len(part.labels), self._loss.weight(part.labels.to(self._device), (row, column))) for part in parts]
        images, weight = self._processes.sum(np.sum(own, axis=0))
        return _Whole(int(images), float(weight), (row, column))

    def _backward(self, part: Batch, which: slice, whole: _Whole) -> float:
        """Add the gradients of a part to those that are there; returns its part of the loss against the labels."""
        torch.manual_seed(self._plan.seed * 1_000_003 + self.step)
        for dropout in self._dropouts:
            dropout.of_batch = whole.images, which
        rgb, depth = part.inputs(self._plan.normalization, self._device)
        with torch.autocast(self._device.type, self._half, enabled=self._half is not None):
            logits, auxiliary = self._student(rgb, depth)
        labels = part.labels.to(self._device)
        loss = self._loss(logits, labels, whole.phase, whole.weight)
        value = float(loss.detach())
        for other in auxiliary:
            loss = loss + self._recipe.rgb_branch.auxiliary * self._loss(other, labels, whole.phase, whole.weight)
        if part.taught:
            share = len(labels) / whole.images
            loss = loss + self._recipe.teacher.weight * share * self._divergence(logits, part.taught, part.shifts)
        self._scaler.scale(loss * self._processes.count).backward()  # what comes back is the processes' mean
        return value

    def _divergence(self, logits: torch.Tensor, taught: Batch, shifts: Sequence[tuple[int, int]]) -> torch.Tensor:
        rgb, depth = taught.inputs(self._teachers_normalization, self._device)
        with torch.no_grad(), torch.autocast(self._device.type, self._half, enabled=self._half is not None):
            teachers = self._teacher.forward_stride4(rgb, depth)
        return soft_label_loss(logits, teachers, shifts, self._recipe.teacher.temperature)

    def _descend(self) -> None:
        if self._recipe.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._student.parameters(), self._recipe.clip_norm)
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
        return AuxiliaryClassifiers(network).to(next(network.parameters()))
