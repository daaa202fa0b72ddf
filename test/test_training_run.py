"""A training learns, stops whenever it is told, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")
pytest.importorskip("tensorboard", reason="needs TensorBoard")
pytest.importorskip("tqdm", reason="needs tqdm")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_data import SHAPES, TINY, Shapes

from asymformer_ros.datasets import LabelledFrame
from asymformer_ros.datasets.classes import own_classes
from asymformer_ros.errors import AsymformerError, CheckpointError, ConfigurationError, FrameError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.training.batches import Batch
from asymformer_ros.training.frames import Frames
from asymformer_ros.training.initial import random_network
from asymformer_ros.training.plan import Plan, Resources
from asymformer_ros.training.recipe import FROM_SCRATCH, Colour, DepthFaults
from asymformer_ros.training.run import train
from asymformer_ros.training.state import LOG, MODEL, STATE
from asymformer_ros.training.stop import TIME_OVER, Stop
from asymformer_ros.training.trainer import Trainer

CPU = torch.device("cpu")
RECIPE = replace(FROM_SCRATCH, epochs=3, batch_size=2, warmup_epochs=1.0)
PLAN = Plan("shapes", SHAPES, (64, 96), RECIPE, 0, "shapes", "from scratch")
HERE = Resources(CPU, workers=0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # sums in the same order, whatever the machine does beside it


def splits(train: int = 8, test: int = 3, repeated: int = 1) -> tuple[Frames, Frames]:
    classes = own_classes([SHAPES])
    return Frames([Shapes(train)] * repeated, classes, 1 << 24), Frames([Shapes(test)], classes, 1 << 24)


def begin(folder: Path, plan: Plan = PLAN, resources: Resources = HERE) -> int:
    """Train, or go on."""
    return train(plan, random_network(TINY, plan.seed), splits(), folder, resources)


def log_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / STATE, weights_only=True)["trainer"]["network"]


def largest_difference(one: Path, other: Path) -> float:
    a, b = weights(one), weights(other)
    return max(float((a[key].float() - b[key].float()).abs().max()) for key in a)


def test_it_learns_a_few_frames_by_heart(tmp_path: Path) -> None:
    still = replace(
        FROM_SCRATCH,
        epochs=3,
        batch_size=4,
        learning_rate=3e-3,
        warmup_epochs=1.0,
        scales=(1.0, 1.0),
        flip=0.0,
        colour=Colour(0, 0, 0, 0),
        depth=DepthFaults(drop=0, holes=0, noise=0, scale=0),
    )
    frames = splits(train=4, test=4, repeated=20)
    assert train(replace(PLAN, recipe=still), random_network(TINY, 0), frames, tmp_path, HERE) == 0
    log = log_of(tmp_path)
    assert log[-1]["loss"] < 0.4 * log[0]["loss"]
    assert log[-1]["mean_iou_present"] > 0.9
    bundle = ModelBundle.load(tmp_path / MODEL)
    assert bundle.card.label_set == SHAPES
    assert bundle.card.input_size == (64, 96)
    assert "from scratch on 80 frames of shapes" in bundle.card.provenance


def test_a_finished_training_leaves_a_log_curves_and_pictures(tmp_path: Path) -> None:
    assert begin(tmp_path) == 0
    log = log_of(tmp_path)
    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert [line["step"] for line in log] == [4, 8, 12]
    assert set(log[0]["class_iou"]) == set(SHAPES.names)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert {"train/loss", "train/learning_rate", "test/mean_iou_present"} <= set(board.Tags()["scalars"])
    assert "test/0" in board.Tags()["images"]


def test_a_finished_training_is_not_begun_again(tmp_path: Path) -> None:
    assert begin(tmp_path) == 0
    before = (tmp_path / STATE).stat().st_mtime_ns
    assert begin(tmp_path) == 0
    assert (tmp_path / STATE).stat().st_mtime_ns == before
    assert len(log_of(tmp_path)) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_training_goes_on_to_the_same_end(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begin(tmp_path / "whole") == 0
    step = Trainer.train

    def interrupted(self: Trainer, parts: list[Batch]) -> object:
        if self.step == 5:  # in the middle of the second epoch
            os.kill(os.getpid(), number)
        return step(self, parts)

    monkeypatch.setattr(Trainer, "train", interrupted)
    assert begin(tmp_path / "stopped") == 128 + number
    monkeypatch.undo()
    assert torch.load(tmp_path / "stopped" / STATE, weights_only=True)["trainer"]["step"] == 6
    assert begin(tmp_path / "stopped") == 0
    assert largest_difference(tmp_path / "whole", tmp_path / "stopped") < 1e-6
    same = ("epoch", "step", "learning_rate", "mean_iou", "pixel_accuracy")
    for whole, stopped in zip(log_of(tmp_path / "whole"), log_of(tmp_path / "stopped"), strict=True):
        assert {key: whole[key] for key in same} == {key: stopped[key] for key in same}
        assert whole["loss"] == pytest.approx(stopped["loss"])


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    begin(tmp_path / "none")
    begin(tmp_path / "two", resources=Resources(CPU, workers=2))
    assert largest_difference(tmp_path / "none", tmp_path / "two") < 1e-6


def test_a_training_whose_time_is_over_stops_and_goes_on(tmp_path: Path) -> None:
    assert begin(tmp_path, resources=Resources(CPU, workers=0, minutes=0.0)) == TIME_OVER
    assert torch.load(tmp_path / STATE, weights_only=True)["trainer"]["step"] == 0
    assert begin(tmp_path) == 0


def test_the_state_is_saved_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a killed process loses little: here each step is saved, and the process dies in the seventh."""

    class KilledError(BaseException):
        pass

    step = Trainer.train

    def killed(self: Trainer, parts: list[Batch]) -> object:
        if self.step == 6:
            raise KilledError
        return step(self, parts)

    monkeypatch.setattr("asymformer_ros.training.run._SAVE_EVERY", 0.0)
    monkeypatch.setattr(Trainer, "train", killed)
    with pytest.raises(KilledError):
        begin(tmp_path / "killed")
    monkeypatch.undo()
    assert torch.load(tmp_path / "killed" / STATE, weights_only=True)["trainer"]["step"] == 6
    assert begin(tmp_path / "killed") == 0
    assert begin(tmp_path / "whole") == 0
    assert largest_difference(tmp_path / "whole", tmp_path / "killed") < 1e-6


def test_a_training_that_is_killed_behind_its_first_model_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr("asymformer_ros.training.log.TrainingLog.epoch", killed)
    plan = replace(PLAN, recipe=replace(RECIPE, epochs=1))
    with pytest.raises(KilledError):
        begin(tmp_path, plan)
    monkeypatch.undo()
    assert (tmp_path / MODEL).exists()
    assert begin(tmp_path, plan) == 0
    assert len(log_of(tmp_path)) == 1


def test_half_a_line_of_the_log_is_left_out(tmp_path: Path) -> None:
    begin(tmp_path, resources=Resources(CPU, workers=0, minutes=0.0))
    (tmp_path / LOG).write_text('{"epoch": 1, "lo')
    assert begin(tmp_path) == 0
    assert [line["epoch"] for line in log_of(tmp_path)] == [1, 2, 3]


def test_a_folder_of_another_training_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    begin(tmp_path, resources=Resources(CPU, workers=0, minutes=0.0))
    other = replace(PLAN, seed=4, recipe=replace(RECIPE, learning_rate=0.5))
    with pytest.raises(
        ConfigurationError, match=r"other settings: seed was 0, is 4; recipe.learning_rate was 0.001, is 0.5"
    ):
        begin(tmp_path, other)


def test_mended_classes_and_data_are_another_training(tmp_path: Path) -> None:
    """The same names and numbers are not the same content."""
    begin(tmp_path, replace(PLAN, renamed={"box": "box"}), Resources(CPU, workers=0, minutes=0.0))
    with pytest.raises(ConfigurationError, match="class_map.ball was void, is box"):
        begin(tmp_path, replace(PLAN, renamed={"box": "box", "ball": "box"}))
    mended = splits()
    mended[0]._data_sets[0].fingerprint = "mended"  # type: ignore[misc]
    with pytest.raises(ConfigurationError, match=r"content.training was \['shapes'\], is \['mended'\]"):
        train(replace(PLAN, renamed={"box": "box"}), random_network(TINY, 0), mended, tmp_path, HERE)
    with pytest.raises(ConfigurationError, match="content.weights was"):
        train(replace(PLAN, renamed={"box": "box"}), random_network(TINY, 1), splits(), tmp_path, HERE)


def test_a_worker_that_is_killed_ends_the_training_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(Shapes):
        def __getitem__(self, index: int) -> LabelledFrame:
            if os.getpid() != parent and index == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__getitem__(index)

    parent = os.getpid()
    monkeypatch.setattr("asymformer_ros.training.run._BALANCE_FRAMES", 1)
    frames = Frames([Deadly(8)], own_classes([SHAPES]), 1), splits()[1]
    with pytest.raises(AsymformerError, match=r"makes no more batches \(.*\): .* try --workers 0"):
        train(PLAN, random_network(TINY, 0), frames, tmp_path, Resources(CPU, workers=1))


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="no state of a training, or is damaged"):
        begin(tmp_path)


def test_a_folder_with_a_model_that_no_training_left_is_refused(tmp_path: Path) -> None:
    (tmp_path / MODEL).write_bytes(b"somebody's")
    with pytest.raises(ConfigurationError, match=r"has a model.safetensors but no last.pt"):
        begin(tmp_path)
    assert (tmp_path / MODEL).read_bytes() == b"somebody's"


class Unlabelled(Shapes):
    def __getitem__(self, index: int) -> LabelledFrame:
        labelled = super().__getitem__(index)
        return LabelledFrame(labelled.frame, np.full_like(labelled.labels, 255))


def test_test_frames_without_labels_are_refused(tmp_path: Path) -> None:
    frames = splits()[0], Frames([Unlabelled(2)], own_classes([SHAPES]), 1 << 24)
    with pytest.raises(FrameError, match="no pixel has a true class"):
        train(PLAN, random_network(TINY, 0), frames, tmp_path, HERE)


class Broken(Shapes):
    def __getitem__(self, index: int) -> LabelledFrame:
        if index == 5:
            raise FrameError("5.png is no image")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_frame_that_cannot_be_read_is_named(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asymformer_ros.training.run._BALANCE_FRAMES", 1)
    frames = Frames([Broken(8)], own_classes([SHAPES]), 1 << 24), splits()[1]
    with pytest.raises(FrameError, match=r"^5.png is no image$"):
        train(PLAN, random_network(TINY, 0), frames, tmp_path, Resources(CPU, workers=workers))


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    network = random_network(TINY, 0)
    with torch.no_grad():
        network.decoder.classify.bias.fill_(np.nan)
    with pytest.raises(AsymformerError, match=r"loss of step 0 is nan: .* lower --learning-rate"):
        train(PLAN, network, splits(), tmp_path, HERE)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot write to .*file/run \(Not a directory\): .* folder with -o"):
        train(PLAN, random_network(TINY, 0), splits(), tmp_path / "file" / "run", HERE)


def test_the_first_signal_is_kept_and_the_second_one_ends_at_once() -> None:
    stop = Stop(None)
    before = signal.getsignal(signal.SIGINT)
    with stop.on_signals():
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        assert stop.reason == "SIGTERM came"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
