"""`asymformer dataset`: downloads become the PNG layout, goes on where it was stopped; what is broken is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_data_set import SIZE, images_of, write_small_set
from sunrgbd_files import PLACES, write_sunrgbd

pytest.importorskip("tqdm", reason="shows a progress bar")

from asymformer_ros.cli.main import main
from asymformer_ros.datasets import open_data_set
from asymformer_ros.datasets.check import SplitCheck
from asymformer_ros.datasets.official import official_split
from asymformer_ros.models.labels import label_set

Capture = pytest.CaptureFixture[str]


def prepared(source: Path, output: Path) -> int:
    return main(["dataset", "prepare", str(source), "-o", str(output)])


@pytest.fixture
def sunrgbd(tmp_path: Path) -> Path:
    pytest.importorskip("h5py", reason="SUN RGB-D's labels are HDF5")
    pytest.importorskip("scipy", reason="SUN RGB-D's lists are MATLAB files")
    return write_sunrgbd(tmp_path / "sun")


def same(a: Path, b: Path) -> None:
    for split in ("train", "test"):
        theirs, ours = open_data_set(a, split), open_data_set(b, split)
        at = {name: index for index, name in enumerate(ours.frame_names)}
        assert set(at) == set(theirs.frame_names)
        assert ours.label_set == theirs.label_set
        assert ours.cameras.items() >= theirs.cameras.items()
        for index, name in enumerate(theirs.frame_names):
            one, other = theirs[index], ours[at[name]]
            np.testing.assert_array_equal(one.frame.rgb, other.frame.rgb)
            np.testing.assert_allclose(one.frame.depth, other.frame.depth, atol=5.1e-4)
            np.testing.assert_array_equal(one.labels, other.labels)


def test_sun_rgbd_becomes_png_with_its_cameras_and_classes(sunrgbd: Path, tmp_path: Path, capsys: Capture) -> None:
    assert prepared(sunrgbd, tmp_path / "png") == 0
    assert f"wrote 2 frames of train and 2 frames of test into {tmp_path / 'png'}" in capsys.readouterr().out
    same(sunrgbd, tmp_path / "png")
    assert main(["dataset", "check", str(tmp_path / "png")]) == 0


def test_one_split_alone_is_prepared_and_the_other_named(tmp_path: Path, capsys: Capture) -> None:
    folder = write_small_set(tmp_path / "set")
    (folder / "test.txt").write_text("")
    assert prepared(folder, tmp_path / "png") == 1
    said = capsys.readouterr()
    assert "wrote 1 frames of train into" in said.out
    assert "test: the split's list" in said.err


def test_nyuv2_becomes_png(tmp_path: Path) -> None:
    mat = pytest.importorskip("test_datasets_mat", reason="needs h5py and scipy")
    mat.write_mat(tmp_path / "nyu")
    mat.write_beside(tmp_path / "nyu")
    assert prepared(tmp_path / "nyu", tmp_path / "png") == 0
    same(tmp_path / "nyu", tmp_path / "png")
    assert not (tmp_path / "png/label_set.json").exists()


def test_it_goes_on_where_it_was_stopped_and_reads_nothing_twice(sunrgbd: Path, tmp_path: Path) -> None:
    assert prepared(sunrgbd, tmp_path / "whole") == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    for name in ("train.txt", "test.txt", "cameras.txt", f"labels/{PLACES[3].replace('/', '-')}.png"):
        (tmp_path / "part" / name).unlink()  # the last frame's labels: it was being written
    kept = tmp_path / "part/images" / f"{PLACES[0].replace('/', '-')}.png"
    before = kept.stat().st_mtime_ns
    assert prepared(sunrgbd, tmp_path / "part") == 0
    same(tmp_path / "whole", tmp_path / "part")
    assert kept.stat().st_mtime_ns == before


def test_what_is_broken_is_named_and_left_out_and_the_rest_goes_on(
    sunrgbd: Path, tmp_path: Path, capsys: Capture
) -> None:
    image = sunrgbd / "SUNRGBD" / PLACES[1] / "image/1.jpg"
    whole = image.read_bytes()
    image.write_bytes(b"cut")
    assert prepared(sunrgbd, tmp_path / "png") == 1
    assert len(open_data_set(tmp_path / "png", "test")) == 1
    told = (tmp_path / "png/broken.txt").read_text()
    assert told.startswith(f"test {PLACES[1].replace('/', '-')}: '")
    assert "1.jpg' is not a readable image" in told
    assert "1 frames are left out, the first is test kv2" in capsys.readouterr().err
    image.write_bytes(whole)
    assert prepared(sunrgbd, tmp_path / "png") == 0  # the same command, after it was mended
    same(sunrgbd, tmp_path / "png")
    assert not (tmp_path / "png/broken.txt").exists()


@pytest.mark.parametrize(
    ("source", "output", "says"),
    [
        ("absent", "new", "there is no folder"),
        ("set", "set", "is the download itself"),
        ("set", "other", "is not empty: give a new or an empty folder"),
    ],
)
def test_what_cannot_be_prepared_takes_one_line(
    tmp_path: Path, capsys: Capture, source: str, output: str, says: str
) -> None:
    write_small_set(tmp_path / "set")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    assert prepared(tmp_path / source, tmp_path / output) == 1
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def checked(folder: Path, capsys: Capture) -> tuple[int, str]:
    return main(["dataset", "check", str(folder)]), capsys.readouterr().out


def test_a_whole_set_is_described(tmp_path: Path, capsys: Capture) -> None:
    code, said = checked(write_small_set(tmp_path / "set"), capsys)
    assert code == 0
    assert "train: 1 frames (the official split has 795), 1 can be read" in said
    assert "test: 3 frames (the official split has 654), 3 can be read" in said
    assert f"sizes: {SIZE[1]}x{SIZE[0]} (3)" in said
    assert "depth unknown 2" in said
    assert said.endswith("nothing is wrong\n")


def test_every_problem_is_named(tmp_path: Path, capsys: Capture) -> None:
    folder = write_small_set(tmp_path / "set", frames=9)
    (folder / "images/0001.png").unlink()
    (folder / "depths/0002.png").write_bytes(b"cut")
    cv2.imwrite(str(folder / "labels/0003.png"), np.full(SIZE, 41, np.uint8))
    cv2.imwrite(str(folder / "labels/0004.png"), np.zeros(SIZE, np.uint8))
    cv2.imwrite(str(folder / "depths/0005.png"), np.zeros(SIZE, np.uint16))
    cv2.imwrite(str(folder / "depths/0006.png"), images_of(6)[1] * 10)
    shutil.copy(folder / "images/0000.png", folder / "images/0007.png")
    (folder / "test.txt").write_text((folder / "test.txt").read_text() + "0008\n")
    code, said = checked(folder, capsys)
    assert code == 1
    for problem in (
        "test 0001: '",
        "images/0001.png' cannot be read: No such file",
        "depths/0002.png' is not a readable image",
        "labels are 41 to 41: expected 0 or 255 (void) and classes 1 to 40",
        "test 0004: no pixel has a class",
        "test 0005: depth is unknown everywhere",
        "test 0006: the median of depth is 2",
        "m: another unit?",
        "test 0008: is listed 2 times",
        "test 0007: has the colour image of train 0000",
        "9 problems",
    ):
        assert problem in said, problem


def test_a_frame_in_the_other_one_of_nyuv2s_splits_is_named() -> None:
    class Names:
        label_set = label_set("nyuv2_40")
        frame_names = tuple(f"{number:04d}" for number in range(1, 1450) if official_split(number) == "train")

    names = Names()
    assert list(SplitCheck(names).strangers("train")) == []  # type: ignore[arg-type]
    names.frame_names = (*names.frame_names, "0001")
    said = ["0001: is in the other one of NYUv2's official splits"]
    assert list(SplitCheck(names).strangers("train")) == said  # type: ignore[arg-type]
    names.frame_names = names.frame_names[-99:]  # too few to be sure that it is NYUv2
    assert list(SplitCheck(names).strangers("train")) == []  # type: ignore[arg-type]


def test_equal_lists_are_named(tmp_path: Path, capsys: Capture) -> None:
    folder = write_small_set(tmp_path / "set")
    shutil.copy(folder / "test.txt", folder / "train.txt")
    code, said = checked(folder, capsys)
    assert code == 1
    assert "test 0001: has the colour image of train 0001" in said
    assert said.endswith("3 problems\n")


def test_a_missing_split_does_not_end_the_check(tmp_path: Path, capsys: Capture) -> None:
    folder = write_small_set(tmp_path / "set")
    (folder / "train.txt").unlink()
    code, said = checked(folder, capsys)
    assert code == 1
    assert "test: 3 frames" in said
    assert "train: the split's list" in said


def test_scores_are_given_for_each_camera(sunrgbd: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the model is a bundle")
    pytest.importorskip("matplotlib", reason="evaluate draws what it found")
    model = str(tmp_path / "model.safetensors")
    size = ["--size", "small", "--input-size", "32x32", "--label-set", "sunrgbd_37"]
    assert main(["untrained", model, *size]) == 0
    reports = []
    assert prepared(sunrgbd, tmp_path / "png") == 0
    for data in (sunrgbd, tmp_path / "png"):  # the original, and what was made of it
        words = ["evaluate", model, "--data", str(data), "--device", "cpu", "-o", str(tmp_path / "report")]
        assert main(words) == 0
        reports.append(json.loads((tmp_path / "report/report.json").read_text()))
    assert set(reports[0]["by_camera"]) == {"kv2", "realsense"}
    assert reports[0]["by_camera"] == reports[1]["by_camera"]
    assert sum(one["pixels"] for one in reports[0]["by_camera"].values()) == np.sum(reports[0]["confusion_matrix"])
