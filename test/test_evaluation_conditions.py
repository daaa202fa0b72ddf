"""Scores by depth, by camera, by confidence and under missing depth, against naive ones; what was counted is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asymformer_ros.datasets.labelled import LabelledFrame
from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.evaluation.calibration import Reliability, fit_temperature
from asymformer_ros.evaluation.compare import compare
from asymformer_ros.evaluation.depth_loss import AS_IT_IS, dropout, holes_of
from asymformer_ros.evaluation.evaluate import Evaluation
from asymformer_ros.evaluation.progress import PROGRESS_FILE, Progress
from asymformer_ros.evaluation.tally import Tally
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import write_png
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.models.labels import label_set

SIZE = (40, 60)
LABELS = label_set("nyuv2_13")


def frame_of(rng: np.random.Generator) -> RgbdFrame:
    depth = rng.uniform(0.3, 8, SIZE).astype(np.float32)
    depth[rng.random(SIZE) < 0.2] = np.nan
    return RgbdFrame(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), depth)


def tally_of(seed: int, camera: str = "", tally: Tally | None = None) -> tuple[Tally, LabelledFrame, Segmentation]:
    rng = np.random.default_rng(seed)
    frame, tally = frame_of(rng), tally or Tally(13)
    truth = np.where(rng.random(SIZE) < 0.2, 255, rng.integers(0, 13, SIZE)).astype(np.uint8)
    labels = np.where(rng.random(SIZE) < 0.5, truth, rng.integers(0, 13, SIZE)).astype(np.uint8)
    confidence = rng.integers(0, 256, SIZE, dtype=np.uint8)
    labelled, answer = LabelledFrame(frame, truth), Segmentation(labels, confidence, frame, LABELS)
    tally.add(f"{seed}", labelled, answer, camera)
    return tally, labelled, answer


def test_pixels_are_counted_by_their_true_depth() -> None:
    tally, labelled, answer = tally_of(1)
    depth, known = labelled.frame.depth, labelled.labels != 255
    for name, inside in {
        "0-2 m": depth < 2,
        "2-4 m": (depth >= 2) & (depth < 4),
        "4+ m": depth >= 4,
        "unknown": np.isnan(depth),
    }.items():
        right = known & inside & (labelled.labels == answer.labels)
        scores = tally.by_depth[name].scores()
        assert scores.pixel_accuracy == pytest.approx(right.sum() / (known & inside).sum())
    assert sum(matrix.counts.sum() for matrix in tally.by_depth.values()) == tally.confusion.counts.sum()


def test_frames_are_counted_by_their_camera() -> None:
    tally, *_ = tally_of(1, "kv1")
    tally_of(2, "kv2", tally)
    tally_of(3, "kv1", tally)
    assert set(tally.by_camera) == {"kv1", "kv2"}
    np.testing.assert_array_equal(tally.by_camera["kv2"].counts, tally_of(2)[0].confusion.counts)
    assert tally_of(1)[0].by_camera == {}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_that_of_a_naive_sum_over_15_bins(seed: int) -> None:
    tally, labelled, answer = tally_of(seed)
    assert answer.confidence is not None
    known = labelled.labels != 255
    confidence, right = answer.confidence[known] / 255, (labelled.labels == answer.labels)[known]
    expected = 0.0
    for index in range(15):
        last = index == 14
        inside = (confidence >= index / 15) & ((confidence < (index + 1) / 15) | last)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert tally.reliability.ece == pytest.approx(expected)
    kept, accuracy = tally.reliability.above(0.5)
    sure = answer.confidence[known] >= 0.5 * 255
    assert (kept, accuracy) == (pytest.approx(sure.mean()), pytest.approx(right[sure].mean()))


def test_nothing_counted_has_no_calibration_error() -> None:
    assert Reliability().ece is None
    assert Reliability().above(0.5) == (0.0, None)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_scores_that_were_heated_is_found(temperature: float) -> None:
    """Classes are drawn from the softmax of the scores; these are multiplied by the temperature that is to be found."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((40000, 5)).astype(np.float32) * 2
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    truth = (shares.cumsum(axis=1) < rng.random((len(scores), 1))).sum(axis=1).clip(0, 4).astype(np.uint8)
    assert fit_temperature(scores * np.float32(temperature), truth) == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_dropout_takes_this_share_of_the_depth_the_same_each_time(share: float) -> None:
    frame = RgbdFrame(np.zeros((480, 640, 3), np.uint8), np.ones((480, 640), np.float32))
    condition = dropout(share)
    lost = np.isnan(condition.apply(frame, 7).depth)
    assert lost.mean() == pytest.approx(share, abs=0.05)
    np.testing.assert_array_equal(lost, np.isnan(condition.apply(frame, 7).depth))
    assert not np.isnan(frame.depth).any()
    assert condition.name == f"depth dropout {share:g}"


def test_a_share_beyond_1_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a share of missing depth is 0 to 1, got 25"):
        dropout(25)


def test_the_holes_of_real_depth_are_laid_over_frames_of_any_size(tmp_path: Path) -> None:
    write_png(tmp_path / "a.depth.png", np.array([[0, 7], [7, 7]], np.uint16))
    write_png(tmp_path / "b.depth.png", np.array([[7, 7], [7, 0]], np.uint16))
    write_png(tmp_path / "c.color.png", np.zeros((2, 2, 3), np.uint8))
    write_png(tmp_path / "d.labels.png", np.zeros((2, 2), np.uint8))
    frame, condition = frame_of(np.random.default_rng(1)), holes_of(tmp_path)
    for index, (row, column) in enumerate([(0, 0), (1, 1), (0, 0)]):
        holes = np.zeros((2, 2), bool)
        holes[row, column] = True
        expected = holes.repeat(20, 0).repeat(30, 1) | np.isnan(frame.depth)
        np.testing.assert_array_equal(np.isnan(condition.apply(frame, index).depth), expected)
    assert AS_IT_IS.apply(frame, 0) is frame


def test_a_folder_without_depth_images_is_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "color.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(FrameError, match="holds no depth image: expected PNG files of 16 bit"):
        holes_of(tmp_path)


def interrupted(folder: Path, identity: dict[str, object]) -> Evaluation:
    evaluation = Evaluation(13, [AS_IT_IS, dropout(1)])
    for tally in evaluation.tallies.values():
        tally_of(1, "kv1", tally)
        tally_of(2, "", tally)
    evaluation.times += [10.0, 20.0]
    with pytest.raises(KeyboardInterrupt), Progress(folder, identity).kept(evaluation):
        raise KeyboardInterrupt
    return evaluation


def test_what_an_interrupted_run_has_counted_is_gone_on_with(tmp_path: Path) -> None:
    before, after = interrupted(tmp_path, {"model": "m"}), Evaluation(13, [AS_IT_IS, dropout(1)])
    Progress(tmp_path, {"model": "m"}).resume(after, 2)
    assert (after.done, after.times) == (2, [10.0, 20.0])
    assert after.tally.frames == before.tally.frames
    for name, tally in after.tallies.items():
        assert json.dumps(tally.to_json()) == json.dumps(before.tallies[name].to_json())
        np.testing.assert_array_equal(tally.confusion.counts, before.tallies[name].confusion.counts)


@pytest.mark.parametrize(
    ("identity", "frames", "content", "says"),
    [
        ({"model": "other"}, 2, None, "it differs in model"),
        ({"model": "m"}, 1, None, "it differs in --limit"),
        ({"model": "m"}, 2, "{", "differs in its file, which is damaged"),
        ({"model": "m"}, 2, "[]", "differs in its file, which is damaged"),
    ],
)
def test_counts_of_anything_else_are_dropped(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    identity: dict[str, object],
    frames: int,
    content: str | None,
    says: str,
) -> None:
    interrupted(tmp_path, {"model": "m"})
    if content:
        (tmp_path / PROGRESS_FILE).write_text(content)
    evaluation = Evaluation(13, [AS_IT_IS, dropout(1)])
    Progress(tmp_path, identity).resume(evaluation, frames)
    assert evaluation.done == 0
    assert says in caplog.text


def test_a_frame_that_was_being_counted_is_not_saved(tmp_path: Path) -> None:
    evaluation = Evaluation(13)
    tally_of(1, "", evaluation.tally)
    evaluation.is_whole = False
    with pytest.raises(SystemExit), Progress(tmp_path, {}).kept(evaluation):
        raise SystemExit(143)
    assert not (tmp_path / PROGRESS_FILE).exists()


def test_two_reports_are_compared_class_by_class(tmp_path: Path) -> None:
    scores = {"mean_iou": 0.3, "mean_iou_present": 0.3, "mean_accuracy": 0.5, "pixel_accuracy": 0.6}
    a = {
        **scores,
        "class_iou": {"wall": 0.5, "bed": 0.2, "bag": None},
        "backend": "torch",
        "by_depth": {"0-2 m": scores},
    }
    b = {**a, "mean_iou": 0.35, "class_iou": {"wall": 0.49, "bed": 0.4, "bag": None}, "backend": "node, torch"}
    for name, content in (("a", a), ("b", b)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    lines = list(compare(tmp_path / "a.json", tmp_path / "b.json"))
    assert "backend: torch and node, torch" in lines
    table = [line.split() for line in lines]
    assert ["mean", "iou", "30.00", "35.00", "+5.00"] in table
    assert ["mean", "iou", "present,", "0-2", "m", "30.00", "30.00", "+0.00"] in table
    assert table[-2:] == [["bed", "20.00", "40.00", "+20.00"], ["wall", "50.00", "49.00", "-1.00"]]


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"mean_iou": "high"}'])
def test_what_is_no_report_cannot_be_compared(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ConfigurationError, match="a.json' is no report: expected a report.json"):
        list(compare(tmp_path / "a.json", tmp_path / "a.json"))
    with pytest.raises(ConfigurationError, match="cannot read '.*absent.json': No such file"):
        list(compare(tmp_path / "absent.json", tmp_path / "a.json"))
