"""NYUv2's own .mat file, made small by the test, with the real split and classes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="reading the .mat file needs h5py")
scipy_io = pytest.importorskip("scipy.io", reason="reading the .mat files beside it needs scipy")

from asymformer_ros.datasets import open_data_set
from asymformer_ros.datasets.nyuv2_mat import CLASSES_FILE, MAT_FILE, SPLITS_FILE
from asymformer_ros.datasets.official import are_of_nyuv2, official_split
from asymformer_ros.errors import FrameError
from asymformer_ros.models.labels import label_set

SIZE = (3, 4)  # height, width
FRAMES = 5


def write_mat(folder: Path, frames: int = FRAMES) -> None:
    """Frame n (from 0) is of colour (n mod 256, 1, 2), n + 1 metres away, and has the labels 0 and n + 1."""
    height, width = SIZE
    folder.mkdir(exist_ok=True)
    numbers = np.arange(frames, dtype=np.float32)
    with h5py.File(folder / MAT_FILE, "w") as file:
        images = file.create_dataset("images", (frames, 3, width, height), np.uint8)
        images[:] = np.array([0, 1, 2])[:, None, None]
        images[:, 0] = (np.arange(frames) % 256)[:, None, None]
        file["depths"] = numbers[:, None, None].repeat(width, 1).repeat(height, 2) + 1
        labels = np.zeros((frames, width, height), np.uint16)
        labels[:, 1:] = (np.arange(frames) % 894 + 1)[:, None, None]
        file["labels"] = labels


def write_beside(folder: Path) -> None:
    split = {"trainNdxs": np.array([[2], [4]], np.uint16), "testNdxs": np.array([[1], [3], [5]], np.uint16)}
    scipy_io.savemat(folder / SPLITS_FILE, split)
    scipy_io.savemat(folder / CLASSES_FILE, {"mapClass": (np.arange(894, dtype=np.uint8) % 40 + 1)[None]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mat(tmp_path / "nyu")
    write_beside(tmp_path / "nyu")
    return tmp_path / "nyu"


def test_frames_are_turned_upright_and_counted_from_1(folder: Path) -> None:
    data = open_data_set(folder, "test")
    assert (len(data), data.name, data.label_set) == (3, "nyu (NYUv2, mat)", label_set("nyuv2_40"))
    labelled = data[1]
    assert labelled.frame.size == SIZE
    assert labelled.frame.rgb.flags.c_contiguous
    np.testing.assert_array_equal(labelled.frame.rgb[0, 0], (2, 1, 2))
    np.testing.assert_array_equal(labelled.frame.depth, np.full(SIZE, 3, np.float32))
    np.testing.assert_array_equal(labelled.labels, [[255, 2, 2, 2]] * 3)
    assert [train.frame.rgb[0, 0, 0] for train in open_data_set(folder, "train")] == [1, 3]


def test_the_real_split_and_classes_are_read(tmp_path: Path, nyuv2_labels: Path) -> None:
    write_mat(tmp_path, 1449)
    for name in (SPLITS_FILE, CLASSES_FILE):
        (tmp_path / name).symlink_to(nyuv2_labels / name)
    train, test = open_data_set(tmp_path, "train"), open_data_set(tmp_path, "test")
    assert (len(train), len(test)) == (795, 654)
    for split, data in (("train", train), ("test", test)):
        assert are_of_nyuv2(list(data.frame_names))
        assert {official_split(int(name)) for name in data.frame_names} == {split}
    assert [round(float(train[index].frame.depth[0, 0])) for index in (0, 794)] == [3, 1440]
    mapping = scipy_io.loadmat(nyuv2_labels / CLASSES_FILE)
    names = [str(name[0]).replace(" ", "_") for name in mapping["className"].ravel()]
    names[names.index("refridgerator")] = "refrigerator"
    assert tuple(names) == label_set("nyuv2_40").names
    for index, said in ((0, "book"), (1, "bottle")):  # the first two of the 894 names, in frames 1 and 2
        assert str(mapping["allClassName"].ravel()[index][0]) == said
        assert test[index].labels[0, 1] == mapping["mapClass"].ravel()[index] - 1


def _unlink(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _text(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_text("not what its name says, " * 20)

    return spoil


def _other_variable(folder: Path) -> None:
    scipy_io.savemat(folder / SPLITS_FILE, {"trainNdxs": np.array([1])})


def _fewer_frames(folder: Path) -> None:
    write_mat(folder, 4)


def _no_labels(folder: Path) -> None:
    with h5py.File(folder / MAT_FILE, "a") as file:
        del file["labels"]


def _large_label(folder: Path) -> None:
    with h5py.File(folder / MAT_FILE, "a") as file:
        file["labels"][0, 0, 0] = 895


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_unlink(SPLITS_FILE), "splits.mat' cannot be read: .*No such file.*; the data set"),
        (_unlink(CLASSES_FILE), "classMapping40.mat' cannot be read"),
        (_text(SPLITS_FILE), "splits.mat' cannot be read"),
        (_text(MAT_FILE), "nyu_depth_v2_labeled.mat' cannot be read as HDF5"),
        (_other_variable, "splits.mat' holds no testNdxs"),
        (_fewer_frames, r"and N at least 5, which 'splits.mat' asks for"),
        (_no_labels, r"'labels': \(\)}: expected images \(N, 3, W, H\)"),
        (_large_label, "labeled.mat', frame 1, is damaged: .* 895 "),
    ],
)
def test_spoilt_files_are_refused_with_their_reason(folder: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(folder)
    with pytest.raises(FrameError, match=says):
        open_data_set(folder, "test")[0]


@pytest.mark.parametrize("package", ["h5py", "scipy"])
def test_a_missing_package_is_named_with_what_brings_it(folder: Path, package: str) -> None:
    code = (
        f"import sys; sys.modules['{package}'] = None\n"
        "from asymformer_ros.cli.main import main\n"
        f"sys.exit(main(['evaluate', 'untrained', '--data', {str(folder)!r}, '-o', {str(folder / 'report')!r}]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert answer.returncode == 1
    assert f"needs {package}, which is not installed here: `pip install {package}`" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
