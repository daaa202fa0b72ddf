"""An RGB branch that starts from ImageNet weights is kept from forgetting them."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")
from torch import nn
from training_data import SHAPES, shapes

from asymformer_ros.models.normalization import EFFICIENTNET_LITE_NORMALIZATION
from asymformer_ros.network import ROOMS, AsymFormer, layers
from asymformer_ros.network.efficientnet import InvertedResidual
from asymformer_ros.training import trainer as module_of_trainer
from asymformer_ros.training.augment import Sample
from asymformer_ros.training.batches import Batch
from asymformer_ros.training.branch import AuxiliaryClassifiers, prepare_branch
from asymformer_ros.training.initial import random_network
from asymformer_ros.training.loss import BalancedLoss
from asymformer_ros.training.plan import Plan
from asymformer_ros.training.recipe import FROM_SCRATCH, RgbBranch
from asymformer_ros.training.trainer import Trainer

TINY_ROOMS = replace(
    ROOMS,
    num_classes=3,
    rgb_backbone="efficientnet-lite0",
    rgb_widths=(24, 40, 112, 320),
    rgb_blocks=(3, 2, 6, 5),
    depth_widths=(8, 8, 16, 32),
    depth_blocks=(1, 1, 1, 1),
    depth_heads=(1, 1, 1, 1),
    decoder_width=16,
)
KEPT = RgbBranch(rate=0.5, frozen_stages=1, fixed_statistics=True, drop_path=0.2, auxiliary=0.3)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trainer(branch: RgbBranch, seed: int = 0) -> Trainer:
    recipe = replace(FROM_SCRATCH, epochs=4, warmup_epochs=0, rgb_branch=branch)
    plan = Plan("rooms", SHAPES, (64, 96), recipe, seed, "shapes", "from scratch", EFFICIENTNET_LITE_NORMALIZATION)
    loss = BalancedLoss(np.ones(3, np.float32), torch.device("cpu"), full_resolution=False)
    return Trainer(random_network(TINY_ROOMS, seed), plan, loss, steps_per_epoch=2)


def batch() -> Batch:
    return Batch.of([Sample(*shapes(index)) for index in range(2)])


def branch_state(network: AsymFormer, stages: tuple[int, ...]) -> dict[str, torch.Tensor]:
    names = tuple(f"stages.{index}.rgb." for index in stages)
    return {key: value.clone() for key, value in network.state_dict().items() if key.startswith(names)}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_frozen_stages_and_fixed_statistics_stay_as_they_are() -> None:
    training = trainer(KEPT)
    frozen, rest = branch_state(training.network, (0,)), branch_state(training.network, (1, 2, 3))
    training.train([batch()])
    assert changed(frozen, branch_state(training.network, (0,))) == set()
    moved = changed(rest, branch_state(training.network, (1, 2, 3)))
    assert "stages.1.rgb.blocks.0.expand.conv.weight" in moved
    assert not [key for key in moved if "running" in key]


def test_a_branch_that_is_frozen_for_an_epoch_moves_afterwards() -> None:
    training = trainer(RgbBranch(frozen_epochs=1.0, fixed_statistics=True))
    before = branch_state(training.network, (0, 1, 2, 3))
    for _ in range(2):
        training.train([batch()])
        assert changed(before, branch_state(training.network, (0, 1, 2, 3))) == set()
    training.train([batch()])
    assert changed(before, branch_state(training.network, (0, 1, 2, 3)))


def test_later_blocks_are_dropped_more_often() -> None:
    network = AsymFormer(TINY_ROOMS)
    prepare_branch(network, KEPT)
    rates = [block.drop_path.rate for block in network.modules() if isinstance(block, InvertedResidual)]
    assert rates[0] == 0
    assert rates == sorted(rates)
    assert 0.15 < rates[-1] < 0.2
    assert all(not m.training for m in network.stages[1].rgb.modules() if isinstance(m, nn.BatchNorm2d))


def test_auxiliary_classifiers_answer_at_stride_4() -> None:
    network = AsymFormer(TINY_ROOMS)
    maps = [torch.randn(2, width, 16 >> index, 24 >> index) for index, width in enumerate(TINY_ROOMS.rgb_widths)]
    answers = AuxiliaryClassifiers(network)(maps)
    assert [tuple(answer.shape) for answer in answers] == [(2, 3, 16, 24)] * 2


def test_auxiliary_classifiers_learn_and_are_continued() -> None:
    training = trainer(KEPT)
    before = {key: value.clone() for key, value in training.state()["auxiliary"].items()}
    training.train([batch()])
    state = training.state()
    assert changed(before, state["auxiliary"]) == set(before)
    other = trainer(KEPT, seed=1)
    other.resume(state)
    assert changed(state["auxiliary"], other.state()["auxiliary"]) == set()
    assert "auxiliary" not in "".join(training.network.state_dict())


class Older:
    """A module as it was before some of its names came; others of its names may be given."""

    def __init__(self, module: ModuleType, missing: str, **names: object) -> None:
        self._module, self._missing = module, missing
        vars(self).update(names)

    def __getattr__(self, name: str) -> object:
        if name == self._missing:
            raise AttributeError(name)
        return getattr(self._module, name)


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("half", [torch.bfloat16, None])
def test_a_step_with_the_names_of_pytorch_2_2_is_the_same(
    half: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_trainer, "half_type", lambda device: half)
    newest = trainer(KEPT)
    expected = newest.train([batch()])
    without_argument = {"is_autocast_enabled": lambda: False}
    monkeypatch.setattr(layers, "torch", Older(torch, "get_autocast_dtype", **without_argument))
    monkeypatch.setattr(module_of_trainer, "torch", Older(torch, "", amp=Older(torch.amp, "GradScaler")))
    oldest = trainer(KEPT)
    assert isinstance(oldest._scaler, torch.cuda.amp.GradScaler)
    assert oldest.train([batch()]) == expected
    for one, other in zip(newest.network.parameters(), oldest.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
