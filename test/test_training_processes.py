"""Several processes learn together what one learns alone, and end together. They are forked from the tests' own."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")
pytest.importorskip("tensorboard", reason="needs TensorBoard")
pytest.importorskip("tqdm", reason="needs tqdm")
if not torch.distributed.is_available():
    pytest.skip("needs torch.distributed", allow_module_level=True)
from training_data import SHAPES, TINY, Shapes, shapes, write_shapes

from asymformer_ros.cli.main import main
from asymformer_ros.datasets.classes import own_classes
from asymformer_ros.models.normalization import EFFICIENTNET_LITE_NORMALIZATION, Normalization
from asymformer_ros.network import CONFIGS, AsymFormer
from asymformer_ros.network.efficientnet import Group
from asymformer_ros.training.augment import Sample
from asymformer_ros.training.batches import Batch
from asymformer_ros.training.frames import Frames
from asymformer_ros.training.initial import random_network
from asymformer_ros.training.loss import BalancedLoss
from asymformer_ros.training.plan import Plan, Resources
from asymformer_ros.training.processes import ALONE, joined
from asymformer_ros.training.recipe import ROOMS
from asymformer_ros.training.run import train
from asymformer_ros.training.state import LOG, MODEL, STATE
from asymformer_ros.training.trainer import Trainer

CPU = torch.device("cpu")
GROUPS = tuple(Group(2, 3, stride, 2, 16) for stride in (1, 2, 2, 2, 1, 2, 1))
PATIENCE = 240.0  # seconds, on a machine that has other things to do
RECIPE = replace(
    ROOMS, epochs=2, batch_size=3, crop=(32, 64), border=0, teacher=replace(ROOMS.teacher, shift=4), warmup_epochs=0.5
)
PLAN = Plan("shapes", SHAPES, (32, 64), RECIPE, 0, "shapes", "from scratch", EFFICIENTNET_LITE_NORMALIZATION)
QUICK = ("--config", "small", "--input-size", "32x64", "--batch-size", "4", "--workers", "0", "--device", "cpu")


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 AdamW makes a whole step of a gradient that is nothing but rounding."""
    torch.set_num_threads(1)
    inputs, weighed = Batch.inputs, BalancedLoss.__init__

    def exact(self: Batch, normalization: Normalization, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        rgb, depth = inputs(self, normalization, device)
        return rgb.double(), depth.double()

    def exact_weights(self: BalancedLoss, weights: np.ndarray, device: torch.device, *, full_resolution: bool) -> None:
        weighed(self, weights.astype(np.float64), device, full_resolution=full_resolution)  # type: ignore[arg-type]

    monkeypatch.setattr("asymformer_ros.network.efficientnet._B0", GROUPS)
    monkeypatch.setattr(Batch, "inputs", exact)
    monkeypatch.setattr(BalancedLoss, "__init__", exact_weights)
    monkeypatch.setattr("asymformer_ros.training.trainer.half_type", lambda device: None)
    monkeypatch.setattr("asymformer_ros.training.evaluate.half_type", lambda device: None)


def network(seed: int) -> AsymFormer:
    """With all that `rooms` has, in a few thousand weights."""
    config = replace(
        TINY,
        rgb_backbone="efficientnet-lite0",
        rgb_widths=(16, 16, 16, 16),
        rgb_blocks=(4, 2, 4, 4),
        depth_widths=(8, 8, 16, 16),
        decoder_width=16,
    )
    return random_network(config, seed).double()


def begin(folder: Path, plan: Plan = PLAN, minutes: float | None = None) -> int:
    """Train, or go on: alone, or together where this is one of several processes."""
    classes = own_classes([SHAPES])
    splits = Frames([Shapes(6)], classes, 1 << 24), Frames([Shapes(3)], classes, 1 << 24)
    with joined() as processes:
        resources = Resources(CPU, workers=0, minutes=minutes, processes=processes)
        return train(plan, network(plan.seed), splits, folder, resources)


def together(work: Callable[[], int], errors: Path) -> list[int]:
    """Exit codes of two processes that do this, as torchrun starts them; what they say goes to a file."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), **agent}

    def one(rank: int) -> None:
        with errors.open("a", buffering=1) as sys.stderr:
            os.environ.update(RANK=str(rank), WORLD_SIZE="2", **where)
            sys.exit(work())

    processes = [multiprocessing.get_context("fork").Process(target=one, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        process.kill()
    return [process.exitcode or 0 for process in processes]


def require_the_same(one: Path, other: Path) -> None:
    """Weights, average and moments of the optimiser, scores and losses."""
    states = [torch.load(folder / STATE, weights_only=True)["trainer"] for folder in (one, other)]
    for name in ("network", "average", "auxiliary"):
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-9, atol=1e-9)
    logs = [[json.loads(line) for line in (folder / LOG).read_text().splitlines()] for folder in (one, other)]
    assert len(logs[0]) == len(logs[1]) == RECIPE.epochs
    for line, same in zip(*logs, strict=True):
        assert line["loss"] == pytest.approx(same["loss"], rel=1e-9)
        assert line["class_iou"] == same["class_iou"]


@pytest.mark.usefixtures("in_float64")
def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    """Also with a batch that can be divided neither in two parts nor among two processes."""
    plan = replace(PLAN, recipe=replace(RECIPE, batch_size=5, accumulate=2))
    assert begin(tmp_path / "alone", plan) == 0
    assert together(lambda: begin(tmp_path / "together", plan), tmp_path / "told") == [0, 0]
    require_the_same(tmp_path / "alone", tmp_path / "together")
    assert (tmp_path / "together" / MODEL).exists()
    assert (tmp_path / "told").read_text().count("epoch 2/2") == 1


@pytest.mark.usefixtures("in_float64")
def test_a_training_goes_on_with_more_processes_and_with_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert begin(tmp_path / "whole") == 0
    changing, step = tmp_path / "changing", Trainer.train

    def interrupted(self: Trainer, parts: list[Batch]) -> object:
        if self.step == ends_in and os.environ.get("RANK") != "0":
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, parts)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", interrupted)
        ends_in = 0
        assert begin(changing) == 128 + signal.SIGTERM
        ends_in = 1  # the last step of an epoch: the other process would go on to evaluate
        assert together(lambda: begin(changing), tmp_path / "told") == [128 + signal.SIGTERM] * 2
    assert "SIGTERM came: stopped after step 2 of 4" in (tmp_path / "told").read_text()
    assert begin(changing) == 0
    require_the_same(tmp_path / "whole", changing)


@pytest.mark.usefixtures("in_float64")
def test_a_batch_in_parts_is_learnt_as_the_whole_one() -> None:
    """Where batch normalisation does not see more in the whole one."""
    whole = Batch.of([Sample(*shapes(index)) for index in range(5)])
    learnt = []
    for accumulate in (1, 3):
        plan = replace(PLAN, recipe=replace(RECIPE, accumulate=accumulate))
        loss = BalancedLoss(np.array([1, 2, 3], np.float32), CPU, full_resolution=False)
        trainer = Trainer(network(0), plan, loss, steps_per_epoch=1)
        for module in trainer.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        parts = [Batch(*(field[part] for field in whole[:3])) for part in ALONE.parts(accumulate)]
        losses = [trainer.train(parts).loss for _ in range(2)]
        learnt.append({"loss": torch.tensor(losses), **trainer.network.state_dict()})
    torch.testing.assert_close(*learnt, rtol=1e-9, atol=1e-9)


def damaged(data: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """One of the processes alone reads the frame."""
    patch.setattr("asymformer_ros.training.run._BALANCE_FRAMES", 1)
    (data / "images/0.png").write_bytes(b"")
    return []


def killed(data: Path, patch: pytest.MonkeyPatch) -> list[str]:
    def ends(self: Trainer, parts: list[Batch]) -> object:
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, parts)

    step = Trainer.train
    patch.setattr(Trainer, "train", ends)
    return ["--workers", "1"]  # of the other one, which ends, too


@pytest.mark.parametrize(
    ("fault", "codes", "message"),
    [
        (damaged, [1, 1], "images/0.png"),
        (killed, [1, -signal.SIGKILL], "another process of this training has ended without a word"),
        (lambda *_: ["--batch-size", "1"], [1, 1], "1 frames cannot be divided among 2 processes in 1 parts"),
        (lambda *_: ["--seed", os.environ["RANK"]], [1, 1], "seed was 0, is 1"),
    ],
)
def test_what_ends_one_process_ends_all_in_one_line(
    fault: Callable[[Path, pytest.MonkeyPatch], list[str]],
    codes: list[int],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_num_threads(1)
    data = write_shapes(tmp_path / "shapes", train=4, test=1)
    monkeypatch.setitem(CONFIGS, "small", TINY)
    command = ["train", "--data", str(data), *QUICK, "-o", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        assert together(lambda: main([*command, *fault(data, patch)]), tmp_path / "told") == codes
    told = [line for line in (tmp_path / "told").read_text().splitlines() if line.startswith("asymformer")]
    assert len(told) == 1
    assert message in told[0]
