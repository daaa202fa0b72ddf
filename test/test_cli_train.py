"""`asymformer train`, from the command line on, and in a process of its own that is stopped and killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")
pytest.importorskip("tensorboard", reason="needs TensorBoard")
pytest.importorskip("tqdm", reason="needs tqdm")
from training_data import SHAPES, write_shapes

from asymformer_ros.cli.main import main
from asymformer_ros.models.bundle import ModelBundle

QUICK = ("--config", "small", "--input-size", "32x64", "--batch-size", "2", "--workers", "0", "--device", "cpu")
PATIENCE = 240.0  # seconds, for a process on a machine that has other things to do


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # several wait for each other where the machine has other things to do


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", train=4, test=2)


def test_it_leaves_a_bundle_that_says_where_it_comes_from(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "corner shop"
    assert main(["train", "--data", str(data), *QUICK, "--epochs", "2", "-o", str(out)]) == 0
    card = ModelBundle.load(out / "model.safetensors").card
    assert (card.name, card.label_set, card.input_size) == ("corner shop", SHAPES, (32, 64))
    assert "trained from scratch on 4 frames of shapes for" in card.provenance
    assert "of the classes present in 2 test frames" in card.provenance
    assert "wrote" in capsys.readouterr().out
    assert len((out / "log.jsonl").read_text().splitlines()) == 2
    assert main(["train", "--data", str(data), *QUICK, "--epochs", "2", "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert "all 2 epochs were done before: nothing is left to do" in told.err
    assert "wrote" not in told.out


def test_it_goes_on_from_a_bundle_with_the_users_own_classes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start.safetensors"
    assert main(["untrained", str(start), "--size", "small", "--input-size", "32x64"]) == 0
    own = {"name": "own", "classes": [{"name": "box", "color": [9, 9, 9]}, {"name": "rest", "color": [1, 1, 1]}]}
    (tmp_path / "classes.json").write_text(json.dumps({"label_set": own, "from": {"box": "box", "back": "rest"}}))
    arguments = [
        "--data",
        str(data),
        "--data",
        str(data),
        "--init",
        str(start),
        "--classes",
        str(tmp_path / "classes.json"),
    ]
    assert main(["train", *arguments, *QUICK, "--epochs", "1", "--name", "own", "-o", str(tmp_path / "out")]) == 0
    card = ModelBundle.load(tmp_path / "out" / "model.safetensors").card
    assert card.label_set.names == ("box", "rest")
    assert "trained from start.safetensors on 8 frames of shapes and shapes" in card.provenance
    assert "keeps 1 of the 2 that are trained now" in capsys.readouterr().err  # nyuv2_40 has a box, too


def test_it_learns_from_a_teacher_and_knows_which(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--data", str(data), *QUICK, "--epochs", "1"]
    assert main([*arguments, "--name", "first", "-o", str(tmp_path / "first")]) == 0
    teacher = str(tmp_path / "first" / "model.safetensors")
    learnt = {}
    for name in (teacher, "average", "none"):
        out = tmp_path / ("taught" if name == teacher else name)
        assert main([*arguments, "--teacher", name, "-o", str(out)]) == 0
        learnt[name] = torch.load(out / "last.pt", weights_only=True)["trainer"]["network"]["decoder.classify.weight"]
    assert not torch.equal(learnt[teacher], learnt["average"])
    assert not torch.equal(learnt["average"], learnt["none"])
    capsys.readouterr()
    assert main([*arguments, "--teacher", "average", "-o", str(tmp_path / "taught")]) == 1
    assert "content.teacher was" in capsys.readouterr().err


def test_a_time_limit_ends_cleanly_and_says_how_to_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--data", str(data), *QUICK, "--epochs", "1", "-o", str(tmp_path / "out")]
    assert main([*arguments, "--limit-minutes", "0"]) == 124
    assert "the time is over: stopped after step 0 of 2" in (told := capsys.readouterr().err)
    assert "the same command goes on from there" in told
    assert main(arguments) == 0
    assert "continues at step 0 of 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--data", "nowhere"], "there is no folder 'nowhere'"),
        (["--classes", "nothing.json"], "cannot read the classes file nothing.json"),
        (["--init", "nothing.safetensors"], "nothing.safetensors does not exist"),
        (["--init", "a.safetensors", "--init-rgb", "b.pth"], "leave out --init-rgb and --init-depth"),
        (["--input-size", "33x64"], "input size must be multiples of 32, got 33x64"),
        (["--evaluate-limit", "0"], "at least one frame must be evaluated, got 0"),
        (["--seed", "-1"], "the seed must be 0..4294967295, got -1"),
        (["--workers", "-1"], "workers and minutes are not below 0, got -1"),
        (["--teacher", "nothing.safetensors"], "nothing.safetensors does not exist"),
        (["--teacher", "demo"], "the teacher demo has the classes of nyuv2_40 (40) but the data set those of"),
        (["--teacher", "average", "--temperature", "0"], "its temperature above 0"),
        (["--epochs", "0"], "epochs must be above 0, got 0"),
        (["--learning-rate", "-1"], "learning_rate must be above 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_begins(
    changed: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(data), *QUICK, "-o", str(tmp_path / "out"), *changed]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_settings_for_a_folder_are_an_error_that_names_them(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--data", str(data), *QUICK, "-o", str(tmp_path), "--limit-minutes", "0"]
    assert main([*arguments, "--epochs", "3"]) == 124
    assert main([*arguments, "--epochs", "4"]) == 1
    assert "belongs to a training with other settings: recipe.epochs was 3, is 4" in capsys.readouterr().err


def test_without_its_libraries_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main(["train", "--data", "x", "--config", "small", "-o", str(tmp_path / "out")]) == 1
    told = "training needs tensorboard, which is not installed here: `pip install tensorboard`"
    assert told in capsys.readouterr().err


def test_frames_that_are_trained_on_and_tested_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_shapes(tmp_path / "shapes", train=4, test=2)
    (data / "test.txt").write_text((data / "train.txt").read_text())
    main(["train", "--data", str(data), *QUICK, "-o", str(tmp_path / "out"), "--limit-minutes", "0"])
    assert "4 of 4 test frames are trained on, too, such as shapes (PNG) 0" in capsys.readouterr().err


def test_scenes_are_held_out_and_a_second_set_mixed_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, other = (write_shapes(tmp_path / name, train=8, test=1) for name in ("one", "other"))
    arguments = ["--data", str(data), "--data", str(other), "--hold-out", "0.33", "--share", "0.5"]
    assert main(["train", *arguments, *QUICK, "--epochs", "1", "-o", str(tmp_path / "out")]) == 0
    card = ModelBundle.load(tmp_path / "out" / "model.safetensors").card
    assert "on 13 frames of one and other" in card.provenance
    assert "present in 3 test frames" in card.provenance
    assert json.loads((tmp_path / "out/log.jsonl").read_text())["step"] == 5  # of one frame of each set
    assert "trained on, too" not in capsys.readouterr().err


@contextmanager
def training(data: Path, out: Path, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Train in a process of its own, with one worker process; it does not outlive the test. how: of Popen."""
    command = [sys.executable, "-m", "asymformer_ros.cli.main", "train", "--data", str(data), *QUICK]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = ["--workers", "1", "--epochs", "8", "-o", str(out)]
    process = subprocess.Popen([*command, *options], env=environment, cwd=Path(__file__).parents[1], **how)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_epochs(out: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (out / "log.jsonl").exists() or len((out / "log.jsonl").read_text().splitlines()) < count:
        assert time.monotonic() < deadline, "the training does not get on"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_that_is_terminated_and_then_killed_comes_to_the_same_end(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    for number, epochs, code in ((signal.SIGTERM, 2, 128 + signal.SIGTERM), (signal.SIGKILL, 4, -signal.SIGKILL)):
        with training(data, out) as process:
            wait_for_epochs(out, epochs)
            process.send_signal(number)
            assert process.wait(PATIENCE) == code
        assert 2 * (epochs - 1) <= torch.load(out / "last.pt", weights_only=True)["trainer"]["step"] < 16
    for folder in (out, tmp_path / "whole"):
        with training(data, folder) as process:
            assert process.wait(PATIENCE) == 0
    one, other = (
        torch.load(tmp_path / name / "last.pt", weights_only=True)["trainer"] for name in ("stopped", "whole")
    )
    assert one["step"] == other["step"] == 16
    for key, value in one["network"].items():
        torch.testing.assert_close(value, other["network"][key], atol=1e-5, rtol=1e-4)
    epochs = [json.loads(line)["epoch"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert epochs == list(range(1, 9))


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_a_training_that_goes_on_later(data: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    how = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    with training(data, tmp_path / "out", **how, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as process:
        os.close(theirs)
        wait_for_epochs(tmp_path / "out", 1)
        os.close(ours)
        assert process.wait(PATIENCE) == 128 + signal.SIGHUP
    assert torch.load(tmp_path / "out" / "last.pt", weights_only=True)["trainer"]["step"] > 0
