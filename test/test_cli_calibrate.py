"""`asymformer calibrate`: the card gets the temperature that makes confidences true, labels stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_data_set import write_small_set

pytest.importorskip("torch", reason="bundles are PyTorch's")
pytest.importorskip("tqdm", reason="calibrate shows a progress bar")
pytest.importorskip("matplotlib", reason="evaluate draws what it found")

from asymformer_ros.cli.main import main
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.labels import label_set
from asymformer_ros.network import CONFIGS


@pytest.fixture
def sure(tmp_path: Path) -> Path:
    """A model that is sure of what it guesses."""
    made = ModelBundle.untrained(CONFIGS["small"], label_set("nyuv2_40"), input_size=(64, 96))
    made.network.decoder.classify.weight.data *= 400
    made.save(tmp_path / "sure.safetensors")
    return tmp_path / "sure.safetensors"


def test_the_calibration_error_falls_and_labels_stay(
    sure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, modest = write_small_set(tmp_path / "set"), tmp_path / "modest.safetensors"
    assert main(["calibrate", str(sure), str(modest), "--data", str(data), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    before, after = ModelBundle.load(sure), ModelBundle.load(modest)
    assert before.card.temperature == 1
    assert after.card.temperature > 3
    assert f"temperature {after.card.temperature:.3f}, calibration error" in said
    reports = {}
    for model in (sure, modest):
        words = ["evaluate", str(model), "--data", str(data), "--device", "cpu", "-o", str(tmp_path / model.stem)]
        assert main(words) == 0
        reports[model] = json.loads((tmp_path / model.stem / "report.json").read_text())
    assert reports[modest]["confusion_matrix"] == reports[sure]["confusion_matrix"]
    assert reports[modest]["settings"]["temperature"] == after.card.temperature
    assert reports[modest]["calibration"]["ece"] < 0.05 < reports[sure]["calibration"]["ece"]
    assert reports[modest]["model"]["sha256"] != reports[sure]["model"]["sha256"]


def test_a_data_set_of_other_classes_is_refused_and_nothing_written(
    sure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_small_set(tmp_path / "set", label_set("nyuv2_13"))
    assert main(["calibrate", str(sure), str(tmp_path / "new.safetensors"), "--data", str(data)]) == 1
    assert "the model has the classes of nyuv2_40 (40)" in capsys.readouterr().err
    assert not (tmp_path / "new.safetensors").exists()
