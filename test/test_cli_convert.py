"""`asymformer convert` and `asymformer untrained`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden import published_state

from asymformer_ros import __version__
from asymformer_ros.cli import untrained
from asymformer_ros.cli.main import SUBCOMMANDS, build_parser, main
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.card import IMAGENET_NORMALIZATION
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.network import SMALL, load_checkpoint


def test_a_checkpoint_becomes_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, path = tmp_path / "nyu.pth", tmp_path / "nyu.safetensors"
    torch.save({"model": published_state()}, checkpoint)
    assert main(["convert", str(checkpoint), str(path), "--label-set", "nyuv2_40"]) == 0
    bundle = ModelBundle.load(path)
    assert (bundle.card.name, bundle.card.input_size) == ("nyu", (480, 640))
    assert bundle.card.normalization == PUBLISHED_NORMALIZATION
    assert bundle.card.provenance == "converted from nyu.pth"
    expected = load_checkpoint(checkpoint).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in bundle.network.state_dict().items())
    out = capsys.readouterr().out
    assert f"wrote {path} (132." in out
    assert "40 classes (nyuv2_40), 33.06 M parameters" in out
    assert f"sha256 {bundle.sha256[:12]}" in out


def test_the_options_of_convert_are_in_the_bundle(tmp_path: Path) -> None:
    checkpoint, path = tmp_path / "sun.pth", tmp_path / "sun.safetensors"
    torch.save(published_state(num_classes=37), checkpoint)
    options = ["--name", "sun", "--input-size", "448x576", "--normalization", "imagenet", "--half"]
    assert main(["convert", str(checkpoint), str(path), "--label-set", "sunrgbd_37", *options]) == 0
    card = ModelBundle.load(path).card
    assert (card.name, card.label_set.name, card.input_size) == ("sun", "sunrgbd_37", (448, 576))
    assert card.normalization == IMAGENET_NORMALIZATION
    assert path.stat().st_size < 70e6


def test_a_bundle_keeps_what_no_option_changes(tmp_path: Path) -> None:
    start, path = tmp_path / "start.safetensors", tmp_path / "half.safetensors"
    assert main(["untrained", str(start), "--size", "small", "--label-set", "nyuv2_13", "--input-size", "64x96"]) == 0
    assert main(["convert", str(start), str(path), "--half", "--name", "smaller"]) == 0
    before, after = ModelBundle.load(start).card, ModelBundle.load(path).card
    assert after == replace(before, name="smaller")
    assert path.stat().st_size < 0.7 * start.stat().st_size
    assert main(["convert", str(start), str(path), "--input-size", "96x128"]) == 0
    assert ModelBundle.load(path).card == replace(before, input_size=(96, 128))
    assert main(["convert", str(start), str(path), "--input-sizes", "32x64,96x128"]) == 0
    assert ModelBundle.load(path).card.sizes == ((96, 128), (64, 96), (32, 64))


def test_a_checkpoint_whose_classes_nobody_names_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"x": torch.ones(1)}, tmp_path / "a.pth")
    assert main(["convert", str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors")]) == 1
    assert "give --label-set, such as nyuv2_40" in capsys.readouterr().err


def test_another_number_of_classes_is_one_line_and_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(published_state(num_classes=37), tmp_path / "sun.pth")
    arguments = ["convert", str(tmp_path / "sun.pth"), str(tmp_path / "out.safetensors"), "--label-set", "nyuv2_40"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("asymformer: the network has 37 classes but label set nyuv2_40 has 40")
    assert error.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()


def test_an_untrained_bundle_is_made_for_any_label_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = LabelSet("lab", ("floor", "robot"), ((1, 2, 3), (255, 0, 0)))
    (tmp_path / "lab.json").write_text(json.dumps(labels.to_json()))
    path = tmp_path / "model.safetensors"
    arguments = ["untrained", str(path), "--size", "small", "--label-set", str(tmp_path / "lab.json"), "--seed", "5"]
    assert main(arguments) == 0
    bundle = ModelBundle.load(path)
    assert bundle.card.label_set == labels
    assert bundle.card.input_size == (256, 320)
    assert bundle.network.config.rgb_widths == SMALL.rgb_widths
    assert "2 classes (lab)" in capsys.readouterr().out


def test_a_missing_checkpoint_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "no.pth"), str(tmp_path / "a"), "--label-set", "nyuv2_40"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "does not exist" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("size", ["480", "axb", "480x640x3"])
def test_an_input_size_that_is_none_is_a_usage_error(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["untrained", "out", "--input-size", size])
    assert caught.value.code == 2
    assert "no HEIGHTxWIDTH" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(untrained, "run", interrupted)
    assert main(["untrained", "out"]) == 130


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(untrained, "run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["untrained", "out"])


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"asymformer_ros {__version__}\n"


def test_every_subcommand_is_in_the_help() -> None:
    text = build_parser().format_help()
    for name in SUBCOMMANDS:
        assert name in text


def test_the_command_line_starts_without_pytorch() -> None:
    code = (
        "import sys; from asymformer_ros.cli.main import build_parser; build_parser(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1]).returncode == 0
