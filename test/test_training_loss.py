"""Class weights, the loss, the learning rate, the optimiser and the average."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")
import torch.nn.functional as F
from torch import nn

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.training.average import averaged_copy, update_average
from asymformer_ros.training.loss import BalancedLoss, at_phase, balance_weights, soft_label_loss
from asymformer_ros.training.recipe import FROM_SCRATCH, PUBLISHED, RgbBranch
from asymformer_ros.training.schedule import branch_factor, branch_of, learning_rate, make_optimizer

CPU = torch.device("cpu")
WIDE = (1e-9, 1e9)


def image(*counts: int) -> np.ndarray:
    """Labels with that many pixels of each class, and a void one."""
    return np.concatenate([np.full(count, index, np.uint8) for index, count in enumerate(counts)] + [[np.uint8(255)]])[
        None
    ]


def test_weights_are_median_frequency_over_the_images_that_have_the_class() -> None:
    weights = balance_weights([image(50, 50, 0), image(90, 0, 10)], 3, WIDE)
    frequency = np.array([140 / 200, 50 / 100, 10 / 100])
    assert weights == pytest.approx(np.median(frequency) / frequency)


def test_a_class_that_never_occurs_weighs_nothing_and_does_not_count_for_the_median() -> None:
    weights = balance_weights([image(60, 30, 0, 10)], 4, WIDE)
    assert weights == pytest.approx([0.5, 1, 0, 3])


def test_weights_are_held_within_limits() -> None:
    assert balance_weights([image(1000, 10, 1)], 3, (0.5, 5)) == pytest.approx([0.5, 1, 5])


def test_labels_that_are_no_class_do_not_count() -> None:
    assert balance_weights([image(10, 10), image(0, 0, 500)], 2, WIDE) == pytest.approx([1, 1])


def test_frames_without_labels_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no labelled pixel"):
        balance_weights([image(0, 0)], 2, WIDE)


def some_logits(classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (2, 32, 48), generator=generator).to(torch.uint8)
    labels[:, :5] = UNLABELLED
    return torch.randn(2, classes, 8, 12, generator=generator), labels


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("column", range(4))
def test_a_phase_is_exactly_those_pixels_of_the_upsampled_logits(row: int, column: int) -> None:
    logits, _ = some_logits()
    whole = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(at_phase(logits, (row, column)), whole[:, :, row::4, column::4])


def test_the_loss_is_the_weighted_mean_over_labelled_pixels() -> None:
    logits, labels = some_logits()
    weights = np.array([1, 2, 0.5], np.float32)
    whole = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    expected = F.cross_entropy(whole, labels.long(), torch.from_numpy(weights), ignore_index=UNLABELLED)
    loss = BalancedLoss(weights, CPU, full_resolution=True)
    torch.testing.assert_close(loss(logits, labels, (0, 0)), expected)


def test_the_losses_of_all_phases_make_up_the_full_one() -> None:
    logits, labels = some_logits()
    labels[labels == UNLABELLED] = 1  # so that all phases count the same
    weights = np.ones(3, np.float32)
    cheap, full = (BalancedLoss(weights, CPU, full_resolution=full) for full in (False, True))
    phases = [cheap(logits, labels, (row, column)) for row in range(4) for column in range(4)]
    torch.testing.assert_close(torch.stack(phases).mean(), full(logits, labels, (0, 0)))


def test_the_loss_without_any_label_is_zero() -> None:
    logits, labels = some_logits()
    loss = BalancedLoss(np.array([1, 1, 0], np.float32), CPU, full_resolution=False)
    assert loss(logits, torch.full_like(labels, UNLABELLED), (0, 0)) == 0
    assert loss(logits, torch.full_like(labels, 2), (0, 0)) == 0


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    recipe = replace(PUBLISHED, epochs=20, warmup_epochs=2.0, learning_rate=1.0)
    rates = [learning_rate(recipe, step, 5) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == rates[10] == pytest.approx(1)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5**0.9)
    assert 0 < rates[-1] < 0.05
    assert learning_rate(recipe, 100, 5) == 0


def test_a_short_training_spends_a_quarter_of_its_steps_on_warming_up() -> None:
    rates = [learning_rate(replace(FROM_SCRATCH, epochs=2, warmup_epochs=2.0), step, 100) for step in range(200)]
    assert rates.index(max(rates)) == 50


def test_a_training_of_one_step_has_the_full_rate() -> None:
    rates = [learning_rate(replace(FROM_SCRATCH, epochs=1), step, 1) for step in range(2)]
    assert rates == [FROM_SCRATCH.learning_rate, 0]


def test_only_matrices_and_kernels_decay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    decaying, others = (g for g in make_optimizer(network, FROM_SCRATCH).param_groups if g["branch"] == "other")
    assert [p.ndim for p in decaying["params"]] == [4, 2]
    assert decaying["weight_decay"] == FROM_SCRATCH.weight_decay
    assert [p.ndim for p in others["params"]] == [1] * 4
    assert others["weight_decay"] == 0


def test_the_average_follows_weights_and_batch_statistics() -> None:
    network = nn.BatchNorm2d(2)
    average = averaged_copy(network)
    for step in range(400):
        with torch.no_grad():
            network.weight.fill_(3.0)
            network.running_mean.fill_(-1.0)  # type: ignore[union-attr]
            network.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        update_average(average, network, step, 0.9)
    torch.testing.assert_close(average.weight, torch.full((2,), 3.0))
    torch.testing.assert_close(average.running_mean, torch.full((2,), -1.0))
    assert average.num_batches_tracked == 399
    assert not average.training
    assert not average.weight.requires_grad


def test_the_average_forgets_the_start_soon_and_remembers_long_later() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = averaged_copy(network)
    nn.init.constant_(average.weight, 0.0)
    nn.init.constant_(network.weight, 1.0)
    update_average(average, network, 0, 0.999)
    assert float(average.weight) == pytest.approx(0.9)
    nn.init.constant_(average.weight, 0.0)
    update_average(average, network, 100_000, 0.999)
    assert float(average.weight) == pytest.approx(0.001)


def test_the_rate_is_held_and_falls_at_the_end() -> None:
    recipe = replace(FROM_SCRATCH, epochs=10, warmup_epochs=1, hold=0.5, power=1.0)
    rates = [learning_rate(recipe, step, 10) / recipe.learning_rate for step in range(100)]
    assert rates[10:55] == [1.0] * 45
    assert rates[55:] == pytest.approx(np.linspace(1, 1 / 45, 45))


def test_class_weights_can_be_milder() -> None:
    labels = [image(80, 15, 5)]
    assert balance_weights(labels, 3, WIDE, 0.5) == pytest.approx(np.sqrt(balance_weights(labels, 3, WIDE)))


@pytest.mark.parametrize(
    ("name", "branch"),
    [
        ("network.stages.2.rgb.blocks.0.expand.weight", "rgb"),
        ("stages.0.depth.norm.weight", "depth"),
        ("network.stages.1.fusion.correlate.rgb_norm.weight", "other"),
        ("decoder.classify.weight", "other"),
    ],
)
def test_a_weight_belongs_to_a_branch_by_its_name(name: str, branch: str) -> None:
    assert branch_of(name) == branch


def test_branches_learn_at_their_own_rates() -> None:
    recipe = replace(FROM_SCRATCH, rgb_branch=RgbBranch(rate=0.2, frozen_epochs=1.5), depth_rate=0.5)
    factors = {
        (branch, step): branch_factor(recipe, branch, step, 10)
        for branch in ("rgb", "depth", "other")
        for step in (0, 14, 15)
    }
    assert [factors["rgb", step] for step in (0, 14, 15)] == [0, 0, 0.2]
    assert {factors["depth", 0], factors["other", 0]} == {0.5, 1.0}


def test_nothing_is_learnt_from_a_teacher_that_says_the_same_of_each_place() -> None:
    torch.manual_seed(0)
    place = torch.randn(2, 5, 12, 14)
    taught = place[:, :, 2:10, 3:11]
    shifts = [(8, -12), (-4, 0)]
    logits = torch.stack(
        [
            image[:, 2 + down // 4 : 10 + down // 4, 3 + right // 4 : 11 + right // 4]
            for image, (down, right) in zip(place, shifts, strict=True)
        ]
    )
    assert float(soft_label_loss(logits, taught, shifts, 1.0)) == pytest.approx(0, abs=1e-6)
    assert float(soft_label_loss(logits, taught, [(0, 0)] * 2, 1.0)) > 0.1


def test_the_loss_of_soft_labels_is_the_divergence() -> None:
    torch.manual_seed(0)
    logits, taught = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3)
    expected = F.kl_div(logits.log_softmax(1), (taught / 2).softmax(1), reduction="none").sum(1).mean()
    assert float(soft_label_loss(logits, taught, [(0, 0)], 2.0)) == pytest.approx(float(expected), rel=1e-5)
