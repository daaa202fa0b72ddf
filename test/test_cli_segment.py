"""`asymformer segment`: every kind of input, what is written, interruptions, broken frames."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
pytest.importorskip("tqdm", reason="needs tqdm")

from rgbd_frames import frames

import asymformer_ros
from asymformer_ros.cli.main import main
from asymformer_ros.evaluation.recordings.files import FrameFiles
from asymformer_ros.frames.images import read_labels

FRAMES = frames(6)


@pytest.fixture(scope="module")
def truth() -> list[np.ndarray]:
    """The labels of FRAMES by the public face."""
    with asymformer_ros.load("demo") as segmenter:
        return [segmenter(rgb, depth).labels for rgb, depth in FRAMES]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "kitchen"
    folder.mkdir()
    for number, (rgb, depth) in enumerate(FRAMES):
        cv2.imwrite(str(folder / f"frame-{number:06d}.color.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / f"frame-{number:06d}.depth.png"), depth)
    return folder


def segment(*arguments: object, model: str = "demo") -> int:
    return main(["segment", *map(str, arguments), "--model", model])


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "summary.jsonl").read_text().splitlines()]


def labels(out: Path) -> list[np.ndarray]:
    return [read_labels(out / line["labels"]) for line in lines(out) if "error" not in line]


def test_a_recording_gets_labels_overlays_and_a_line_for_each_frame(
    recording: Path, tmp_path: Path, truth: list[np.ndarray]
) -> None:
    out = tmp_path / "out"
    assert segment(recording, "-o", out) == 0
    np.testing.assert_array_equal(labels(out), truth)
    assert [line["name"] for line in lines(out)] == [f"frame-{number:06d}" for number in range(6)]
    assert all(cv2.imread(str(out / line["overlay"])).shape == (72, 96, 3) for line in lines(out))
    shares = [sum(one["pixel_fraction"] for one in line["classes"]) for line in lines(out)]
    np.testing.assert_allclose(shares, 1.0)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["counts"] == {"frames": 6, "broken": 0, "without_depth": 0}
    assert sorted(path.name for path in out.iterdir()) == [
        *("classes.json", "labels", "manifest.json", "overlay", "summary.jsonl")
    ]


def test_labels_with_a_palette_hold_the_same_indices_and_unlabelled_pixels_are_255(
    recording: Path, tmp_path: Path
) -> None:
    plain, indexed = tmp_path / "plain", tmp_path / "indexed"
    for out, more in ((plain, ()), (indexed, ("--palette",))):
        assert segment(recording, "-o", out, "--min-confidence", 0.5, *more) == 0
    np.testing.assert_array_equal(labels(plain), labels(indexed))
    assert 0 < np.mean(np.array(labels(plain)) == 255) < 1
    colour = cv2.imread(str(next((indexed / "labels").iterdir())))[..., ::-1]
    with asymformer_ros.load("demo") as segmenter:
        known = segmenter.label_set
    shown = labels(indexed)[0]
    np.testing.assert_array_equal(colour[shown != 255], known.colorize(shown)[shown != 255])


def pair(recording: Path, tmp_path: Path) -> list[object]:
    return ["--rgb", recording / "frame-000000.color.png", "--depth", recording / "frame-000000.depth.png"]


def two_folders(recording: Path, tmp_path: Path) -> list[object]:
    for kind in ("color", "depth"):
        (tmp_path / kind).mkdir()
        for number, path in enumerate(sorted(recording.glob(f"*.{kind}.png"))):
            shutil.copy(path, tmp_path / kind / f"{number}.png")
    return ["--rgb", tmp_path / "color", "--depth", tmp_path / "depth"]


def patterns(recording: Path, tmp_path: Path) -> list[object]:
    return ["--rgb", recording / "*.color.png", "--depth", recording / "*.depth.png"]


def data_set(recording: Path, tmp_path: Path) -> list[object]:
    folder = tmp_path / "set"
    for name in ("images", "depths", "labels"):
        (folder / name).mkdir(parents=True)
    for number, (rgb, depth) in enumerate(FRAMES):
        cv2.imwrite(str(folder / f"images/{number}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / f"depths/{number}.png"), depth)
    (folder / "test.txt").write_text("\n".join(map(str, range(len(FRAMES)))))
    return [folder]  # without a single label


def video(recording: Path, tmp_path: Path) -> list[object]:
    """Both without loss."""
    options = [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U, cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    fourcc = cv2.VideoWriter.fourcc(*"FFV1")
    colour = cv2.VideoWriter(str(tmp_path / "rgb.mkv"), cv2.CAP_FFMPEG, fourcc, 10, (96, 72))
    distance = cv2.VideoWriter(str(tmp_path / "depth.mkv"), cv2.CAP_FFMPEG, fourcc, 10, (96, 72), options)
    if not colour.isOpened() or not distance.isOpened():
        pytest.skip("this OpenCV writes no FFV1")
    for rgb, depth in FRAMES:
        colour.write(rgb[..., ::-1])
        distance.write(depth)
    colour.release()
    distance.release()
    return ["--rgb", tmp_path / "rgb.mkv", "--depth", tmp_path / "depth.mkv"]


def video_with_folder(recording: Path, tmp_path: Path) -> list[object]:
    return [*video(recording, tmp_path)[:3], recording / "*.depth.png"]


@pytest.mark.parametrize("given", [pair, two_folders, patterns, data_set, video, video_with_folder])
def test_other_inputs_give_the_same_labels(
    given: Callable[[Path, Path], list[object]], recording: Path, tmp_path: Path, truth: list[np.ndarray]
) -> None:
    out = tmp_path / "out"
    assert segment(*given(recording, tmp_path), "-o", out) == 0
    answered = labels(out)
    assert len(answered) == (1 if given is pair else 6)
    for number, one in enumerate(answered):
        # FFV1 of OpenCV goes through another colour space, which moves a grey level here and there
        share = 0.97 if "video" in given.__name__ else 1.0
        assert np.mean(one == truth[number]) >= share


def test_patterns_over_folders_with_the_same_names_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else colour of the one would be paired with depth of the other."""
    for at, (rgb, depth) in enumerate(FRAMES[:2]):
        for kind, pixels in (("rgb", rgb), ("depth", depth)):
            (tmp_path / f"seq{at}" / kind).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / f"seq{at}" / kind / "0000.png"), pixels)
    assert segment("--rgb", tmp_path / "*/rgb/*.png", "--depth", tmp_path / "*/depth/*.png", "-o", tmp_path / "o") == 1
    assert "two images are called '0000'" in capsys.readouterr().err


def test_every_from_and_to_choose_frames(recording: Path, tmp_path: Path) -> None:
    assert segment(recording, "-o", tmp_path / "out", "--every", 2, "--from", 1, "--to", 5) == 0
    assert [line["name"] for line in lines(tmp_path / "out")] == ["frame-000001", "frame-000003"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_interrupted_it_goes_on_and_segments_nothing_twice(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truth: list[np.ndarray], is_killed: bool
) -> None:
    out, written, stops_at = tmp_path / "out", [], [3]
    write = FrameFiles.write

    def counted(files: FrameFiles, store: Any, item: Any, segmentation: Any) -> dict[str, object]:
        if len(written) in stops_at:
            raise KeyboardInterrupt
        written.append(item.name)
        return write(files, store, item, segmentation)

    monkeypatch.setattr(FrameFiles, "write", counted)
    assert segment(recording, "-o", out) == 130
    assert not (out / "summary.jsonl").exists()
    if is_killed:  # a power cut has taken the end of a file
        (out / "labels/frame-000001.png").write_bytes(b"\x89PNG")
        written.remove("frame-000001")
    stops_at.clear()
    assert segment(recording, "-o", out) == 0
    names = [f"frame-{number:06d}" for number in range(6)]
    assert sorted(written) == names
    assert [line["name"] for line in lines(out)] == names
    np.testing.assert_array_equal(labels(out), truth)
    assert segment(recording, "-o", out) == 0
    assert len(written) == 6


def test_a_broken_frame_is_named_and_counted_and_the_rest_goes_on(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recording / "frame-000000.depth.png").unlink()
    (recording / "frame-000002.depth.png").write_bytes(b"no image")
    assert segment(recording, "-o", tmp_path / "out") == 3
    broken = {line["name"]: line["error"] for line in lines(tmp_path / "out") if "error" in line}
    assert set(broken) == {"frame-000000", "frame-000002"}
    assert "frame-000000.depth.png' cannot be read: No such file" in broken["frame-000000"]
    assert "frame-000002.depth.png" in broken["frame-000002"]
    assert len(labels(tmp_path / "out")) == 4
    assert "4 frames segmented, 2 broken" in capsys.readouterr().out
    assert segment(recording, "-o", tmp_path / "strict", "--strict") == 1
    assert "frame-000000" in capsys.readouterr().err


def test_another_choice_in_the_same_place_is_refused(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(recording, "-o", tmp_path / "out") == 0
    assert segment(recording, "-o", tmp_path / "out", "--palette") == 1
    assert "another run, which differs in options" in capsys.readouterr().err


def test_several_inputs_have_a_folder_each_and_a_useless_one_is_left_out(recording: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copytree(recording, tmp_path / "second")
    out = tmp_path / "out"
    assert segment(recording, empty, tmp_path / "seco*", "-o", out) == 3
    assert sorted(path.name for path in out.iterdir()) == ["kitchen", "second"]
    assert len(labels(out / "second")) == 6
    assert segment(empty, "-o", tmp_path / "alone") == 1


def test_quiet_says_nothing(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment(recording, "-o", tmp_path / "out", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_the_video_shows_every_overlay_above_a_legend(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(recording, "-o", out) == 0
    assert segment(recording, "-o", out, "--video") == 0  # of what is there already
    film = cv2.VideoCapture(str(out / "video.mp4"))
    shown = []
    while (got := film.read())[0]:
        shown.append(got[1])
    assert len(shown) == 6
    overlay = cv2.imread(str(out / lines(out)[3]["overlay"])).astype(int)
    assert shown[3].shape[0] > 72
    assert np.abs(shown[3][:72, :96] - overlay).mean() < 12


def test_points_are_those_of_known_depth_with_their_labels(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (recording / "camera-intrinsics.txt").write_text("100 0 48\n0 100 36\n0 0 1\n")
    assert segment(recording, "-o", out, "--points", "ply") == 0
    head, _, data = (out / lines(out)[0]["points"]).read_bytes().partition(b"end_header\n")
    assert b"element vertex 6896\n" in head
    kind = [(name, "<f4") for name in "xyz"] + [(name, "u1") for name in "rgbl"] + [("confidence", "<f4")]
    cloud = np.frombuffer(data, kind)
    rgb, depth = FRAMES[0]
    known = depth > 0
    np.testing.assert_array_equal(cloud["l"], labels(out)[0][known])
    np.testing.assert_array_equal(np.stack([cloud[name] for name in "rgb"], 1), rgb[known])
    rows, columns = np.nonzero(known)
    np.testing.assert_allclose(cloud["x"], (columns - 48) / 100 * depth[known] / 1000, atol=1e-5)
    np.testing.assert_allclose(cloud["y"], (rows - 36) / 100 * depth[known] / 1000, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "give INPUT"),
        (["--rgb", "a.png"], "give INPUT"),
        (["nowhere"], "there is no 'nowhere'"),
        (["nothing*"], "nothing is called"),
        (["x", "--every", "0"], "every is 0"),
        (["x", "--from", "5", "--to", "5"], "from 5 to 5"),
        (["x", "--alpha", "2"], "--alpha"),
        (["x", "--on", "ray://there"], "expected dask://HOST:PORT"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert segment(*given, "-o", tmp_path / "out") == 1
    assert said in capsys.readouterr().err
