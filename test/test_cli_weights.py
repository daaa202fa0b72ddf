"""`asymformer weights`: the list, and the authors' checkpoint as a model with a name."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="checkpoints are PyTorch's")
from golden import published_state

from asymformer_ros.cli import weights as command
from asymformer_ros.cli.main import main
from asymformer_ros.errors import CheckpointError
from asymformer_ros.models.catalogue import DEMO, NYUV2, KnownWeights
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.models.opening import open_bundle
from asymformer_ros.network import load_checkpoint


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's data, in place of the real one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return NYUV2.folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the authors' layout."""
    path = tmp_path_factory.mktemp("theirs") / "asymformer.pth"
    torch.save({"model": published_state()}, path)
    return path


def comes(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Stands in for gdown, which has a test of its own."""

    def download(known: KnownWeights) -> Path:
        path = known.folder / "nyuv2.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    monkeypatch.setattr("asymformer_ros.models.download.download", download)


def test_the_list_says_what_is_known_and_what_is_here(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    head, *rows, nyuv2, missing = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "classes", "size", "licence", "mIoU", "from"]
    assert rows[0].startswith("rooms  40 (nyuv2_40)")
    assert any(row.startswith("demo   40 (nyuv2_40)") for row in rows)
    assert nyuv2.split() == ["nyuv2", "40", "(nyuv2_40)", "132", "MB", "Apache-2.0", "54.1", NYUV2.origin]
    assert missing.strip() == "not here"
    data.mkdir(parents=True)
    NYUV2.bundle.touch()
    main(["weights", "list"])
    assert capsys.readouterr().out.splitlines()[-1].strip() == str(NYUV2.bundle)


def test_a_downloaded_checkpoint_becomes_a_model_with_a_name(
    data: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    comes(monkeypatch, checkpoint.read_bytes())
    assert main(["weights", "download", "nyuv2"]) == 0
    assert [file.name for file in data.iterdir()] == ["nyuv2.safetensors"]
    bundle, sha256 = open_bundle("nyuv2"), hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert (bundle.card.name, bundle.card.label_set.name, bundle.card.input_size) == ("nyuv2", "nyuv2_40", (480, 640))
    assert bundle.card.normalization == PUBLISHED_NORMALIZATION
    assert bundle.card.provenance == f"{NYUV2.origin}, Apache-2.0; converted from nyuv2.pth, sha256 {sha256}"
    expected = load_checkpoint(checkpoint).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in bundle.network.state_dict().items())
    out = capsys.readouterr().out
    assert f"wrote {data / 'nyuv2.safetensors'} (132." in out
    assert sha256 in out
    comes(monkeypatch, b"must not be asked for again")
    assert main(["weights", "download", "nyuv2"]) == 0
    assert f"nyuv2 is here already: {NYUV2.bundle}" in capsys.readouterr().out


def test_a_file_that_was_downloaded_by_hand_is_taken_and_left_where_it_is(checkpoint: Path) -> None:
    assert main(["weights", "download", "nyuv2", "--from", str(checkpoint)]) == 0
    assert checkpoint.is_file()
    assert open_bundle("nyuv2").card.name == "nyuv2"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><title>Quota exceeded</title>", "is a web page, not weights"),
        (b"PK\x03\x04 and then nothing", "no PyTorch checkpoint, or is damaged"),
    ],
)
def test_what_is_no_checkpoint_is_one_line_and_leaves_nothing(
    content: bytes, told: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    comes(monkeypatch, content)
    assert main(["weights", "download", "nyuv2"]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert list(data.iterdir()) == []


def test_a_checkpoint_of_other_classes_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(published_state(num_classes=37), tmp_path / "sun.pth")
    assert main(["weights", "download", "nyuv2", "--from", str(tmp_path / "sun.pth")]) == 1
    assert "sun.pth has 37 classes, but `nyuv2` has 40: expected the file of https://drive" in capsys.readouterr().err
    assert not data.exists()


def test_a_bundle_of_another_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_bundle("untrained").save(tmp_path / "small.safetensors")
    assert main(["weights", "download", "nyuv2", "--from", str(tmp_path / "small.safetensors")]) == 1
    assert "small.safetensors holds another network than the published one" in capsys.readouterr().err


def test_a_model_of_which_only_the_onnx_file_is_there_cannot_be_opened_as_a_bundle(data: Path) -> None:
    data.mkdir(parents=True)
    NYUV2.onnx.touch()
    with pytest.raises(CheckpointError, match=r"nyuv2.onnx is an ONNX file: give the model bundle"):
        open_bundle("nyuv2")


def test_only_what_can_be_downloaded_is_offered() -> None:
    with pytest.raises(SystemExit):
        main(["weights", "download", DEMO.name])


@pytest.mark.parametrize("missing", ["torch", "tqdm"])
def test_a_library_that_is_not_installed_is_one_line(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def needs_it(_: object) -> int:
        __import__(missing)
        return 0

    monkeypatch.setattr(command, "run_list", needs_it)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["weights", "list"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"asymformer: this needs {missing}, which is not installed here: `pip install {missing}`")
    assert error.count("\n") == 1
