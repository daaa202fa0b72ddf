"""Counts and scores against naive ones, the run over a data set, and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_data_set import write_small_set

from asymformer_ros.datasets import DataSet, open_data_set
from asymformer_ros.datasets.labelled import labels_from_one
from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.evaluation.confusion import ConfusionMatrix
from asymformer_ros.evaluation.evaluate import WARM_UP, Evaluation, evaluate, require_same_classes
from asymformer_ros.evaluation.tally import FrameScore
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import LabelSet, label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5))
TRUE = st.sampled_from([0, 1, 2, UNLABELLED])
PREDICTED = st.sampled_from([0, 1, 2, 3, 200, UNLABELLED])


def matrix_of(truth: object, predicted: object, classes: int = 3) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes)
    matrix.add(np.array(truth, np.uint8), np.array(predicted, np.uint8))
    return matrix


@settings(deadline=None)
@given(data=st.data(), shape=SHAPES)
def test_the_counts_are_those_of_a_naive_loop(data: st.DataObject, shape: tuple[int, int]) -> None:
    naive = np.zeros((3, 4), int)
    matrix = ConfusionMatrix(3)
    for _ in range(2):
        truth, predicted = (data.draw(arrays(np.uint8, shape, elements=values)) for values in (TRUE, PREDICTED))
        matrix.add(truth, predicted)
        for true, seen in zip(truth.flat, predicted.flat, strict=True):
            if true != UNLABELLED:
                naive[true, min(seen, 3)] += 1
    assert matrix.counts.dtype == np.int64
    np.testing.assert_array_equal(matrix.counts, naive)


@settings(deadline=None)
@given(data=st.data(), shape=SHAPES)
def test_the_scores_are_those_of_naive_sets_of_pixels(data: st.DataObject, shape: tuple[int, int]) -> None:
    truth, predicted = (data.draw(arrays(np.uint8, shape, elements=values)) for values in (TRUE, PREDICTED))
    truth.flat[0] = 0  # there is something to score
    scores = matrix_of(truth, predicted).scores()
    known, iou, accuracy = truth != UNLABELLED, [], []
    for index in range(3):
        true, seen = truth == index, (predicted == index) & known
        iou.append((true & seen).sum() / (true | seen).sum() if (true | seen).any() else None)
        accuracy += [(true & seen).sum() / true.sum()] if true.any() else []
    assert scores.class_iou == pytest.approx(tuple(iou))
    assert scores.mean_iou == pytest.approx(np.mean([share for share in iou if share is not None]))
    assert scores.mean_iou_present == pytest.approx(np.mean([iou[index] for index in range(3) if index in truth]))
    assert scores.mean_accuracy == pytest.approx(np.mean(accuracy))
    assert scores.pixel_accuracy == pytest.approx((truth == predicted)[known].mean())


def test_the_scores_are_the_published_ones() -> None:
    scores = matrix_of([0, 0, 0, 1, 255, 255], [0, 0, 1, 1, 2, 0]).scores()
    assert scores.class_iou == (pytest.approx(2 / 3), pytest.approx(1 / 2), None)
    assert scores.mean_iou == scores.mean_iou_present == pytest.approx(7 / 12)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert scores.pixel_accuracy == pytest.approx(3 / 4)


def test_a_class_that_is_only_predicted_lowers_the_mean_over_all_classes() -> None:
    scores = matrix_of([0, 0, 0, 0], [0, 0, 0, 2]).scores()
    assert scores.class_iou == (0.75, None, 0.0)
    assert (scores.mean_iou, scores.mean_iou_present) == (0.375, 0.75)


def test_an_unlabelled_prediction_is_wrong_for_its_true_class() -> None:
    scores = matrix_of([0, 0, 1, 1], [0, 255, 1, 7]).scores()
    assert scores.class_iou == (0.5, 0.5, None)
    assert (scores.mean_accuracy, scores.pixel_accuracy) == (0.5, 0.5)


def test_255_classes_leave_room_for_void() -> None:
    everything = np.arange(256, dtype=np.uint8)
    matrix = matrix_of(everything, everything, 255)
    np.testing.assert_array_equal(matrix.counts, np.eye(255, 256))


@pytest.mark.parametrize("classes", [0, 256])
def test_an_impossible_number_of_classes_is_refused(classes: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{classes} classes cannot be compared: expected 1 to 255"):
        ConfusionMatrix(classes)


@pytest.mark.parametrize(
    ("truth", "predicted", "says"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), "expected uint8 of one shape"),
        (np.zeros(2, np.int64), np.zeros(2, np.uint8), "truth is \\(2,\\) int64"),
        (np.zeros(2, np.uint8), np.zeros(2, np.float32), "prediction \\(2,\\) float32"),
        (np.array([0, 3], np.uint8), np.zeros(2, np.uint8), "a class above 2: expected 0 to 2, or 255"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_not_counted(truth: np.ndarray, predicted: object, says: str) -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(FrameError, match=says):
        matrix.add(truth, predicted)  # type: ignore[arg-type]
    assert not matrix.counts.any()


def test_nothing_labelled_has_no_score() -> None:
    with pytest.raises(FrameError, match="no pixel has a true class"):
        matrix_of([255, 255], [0, 1]).scores()


def test_label_maps_agree_with_themselves_and_not_with_their_mirror_images() -> None:
    rng, perfect, mirrored = np.random.default_rng(0), ConfusionMatrix(13), ConfusionMatrix(13)
    maps = [np.kron(labels_from_one(rng.integers(0, 14, (6, 8)), 13), np.ones((80, 80), np.uint8)) for _ in range(30)]
    for labels in maps:
        perfect.add(labels, labels)
        mirrored.add(labels, np.ascontiguousarray(labels[:, ::-1]))
    scores = perfect.scores()
    assert scores.mean_iou == scores.mean_iou_present == scores.mean_accuracy == scores.pixel_accuracy == 1
    assert scores.class_iou == (1.0,) * 13
    assert perfect.counts.sum() == sum((labels != UNLABELLED).sum() for labels in maps)
    assert 0 < mirrored.scores().mean_iou < 0.1


class TruthBackend:
    """Knows the labels of a data set's frames, each asked for twice, and repeats the first to warm up."""

    name = model_sha256 = "truth"
    card = ModelCard("truth", label_set("nyuv2_40"), PUBLISHED_NORMALIZATION, (64, 64))

    def __init__(self, data: DataSet) -> None:
        self._answers = [data[0].labels] * WARM_UP + [data[index // 2].labels for index in range(2 * len(data))]
        self.asked = 0

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        self.asked += 1
        labels = self._answers[self.asked - 1][None]
        return Prediction(labels, np.full_like(labels, 204) if with_confidence else None)

    def close(self) -> None:
        pass


class HalvesBackend(TruthBackend):
    """Says class 0 in the upper and 1 in the lower half of its own input size."""

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        return Prediction(np.repeat([0, 1], 32).astype(np.uint8)[None, :, None].repeat(64, axis=2), None)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    return open_data_set(write_small_set(tmp_path / "set"), "test")


def test_a_model_that_knows_the_truth_scores_1(data: DataSet) -> None:
    backend = TruthBackend(data)
    evaluation = evaluate(Segmenter(backend), data, range(len(data)))
    tally = evaluation.tally
    assert tally.confusion.scores().mean_iou == tally.confusion.scores().pixel_accuracy == 1
    assert backend.asked == WARM_UP + 3 + 3  # once more without confidence, for the time
    assert len(evaluation.times) == 3
    assert tally.reliability.ece == pytest.approx(0.2)
    assert [(one.name, one.pixel_accuracy, one.mean_iou) for one in tally.frames] == [
        (name, 1, 1) for name in data.frame_names
    ]


def test_the_prediction_is_compared_in_the_size_of_the_labels(data: DataSet) -> None:
    counts = evaluate(Segmenter(HalvesBackend(data)), data, [0]).tally.confusion.counts
    upper, lower = (half[half != UNLABELLED] for half in np.split(data[0].labels, 2))
    np.testing.assert_array_equal(counts[:, 0], np.bincount(upper, minlength=40))
    np.testing.assert_array_equal(counts[:, 1], np.bincount(lower, minlength=40))


def test_frames_per_second_are_those_of_the_median_frame() -> None:
    evaluation = Evaluation(1)
    evaluation.times += [10.0, 20.0, 900.0]
    assert evaluation.frames_per_second == pytest.approx(50)


def test_no_frames_are_refused(data: DataSet) -> None:
    with pytest.raises(ConfigurationError, match="no frames of set \\(PNG\\) to evaluate"):
        evaluate(Segmenter(TruthBackend(data)), data, [])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (label_set("nyuv2_13"), r"nyuv2_40 \(40\) but the data set those of nyuv2_13 \(13\): class 0 is wall and bed;"),
        (LabelSet("two", ("wall", "floor"), ((0, 0, 0), (1, 1, 1))), r"those of two \(2\); take a model"),
    ],
)
def test_other_classes_are_refused(other: LabelSet, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        require_same_classes(label_set("nyuv2_40"), other)


def test_the_same_classes_may_have_another_name_and_colours() -> None:
    nyuv2 = label_set("nyuv2_40")
    require_same_classes(nyuv2, LabelSet("mine", nyuv2.names, nyuv2.colors[::-1]))


def report_of(classes: LabelSet, matrix: ConfusionMatrix) -> object:
    pytest.importorskip("matplotlib", reason="a report has a picture")
    from asymformer_ros.evaluation.report import EvaluationReport

    evaluation = Evaluation(len(matrix.counts))
    evaluation.times.append(10.0)
    evaluation.tally.confusion.counts += matrix.counts
    evaluation.tally.frames.append(FrameScore("1", 0.5, None))
    return EvaluationReport(
        evaluation, classes, "model", "hash", "backend", "data", "test", "asymformer evaluate", {"flip": False}
    )


def test_a_report_keeps_what_was_counted(tmp_path: Path) -> None:
    classes = label_set("nyuv2_40")
    report_of(classes, matrix_of([0, 0, 1, 1], [0, 0, 1, 3], 40)).save(tmp_path / "report")  # type: ignore[attr-defined]
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["class_iou"] == {**dict.fromkeys(classes.names), "wall": 1.0, "floor": 0.5, "bed": 0.0}
    assert (report["mean_iou"], report["mean_iou_present"]) == (0.5, 0.75)
    assert (report["frames"], report["frames_per_second"]) == (1, 100)
    assert report["model"] == {"name": "model", "sha256": "hash"}
    assert report["calibration"] is None
    assert report["confusion_matrix"][1][3] == 1
    assert (tmp_path / "report/frames.jsonl").read_text() == '{"name": "1", "pixel_accuracy": 0.5, "mean_iou": null}\n'
    names = ["confusion_matrix.png", "frames.jsonl", "report.json", "report.md"]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == names


@pytest.mark.parametrize("classes", [1, 40])
def test_the_picture_grows_with_the_classes_that_occur(classes: int) -> None:
    pytest.importorskip("matplotlib", reason="a report has a picture")
    from asymformer_ros.evaluation.picture import confusion_picture

    everything = np.arange(classes, dtype=np.uint8)
    picture = confusion_picture(matrix_of(everything, everything, 40).counts, label_set("nyuv2_40"))
    height, width = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    assert (height > 1000) == (width > 1000) == (classes == 40)


def test_a_report_of_other_classes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="3 classes were counted but nyuv2_40 has 40"):
        report_of(label_set("nyuv2_40"), ConfusionMatrix(3))


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AsymformerError, match="cannot write the report to .*file"):
        report_of(label_set("nyuv2_13"), matrix_of([0], [0], 13)).save(tmp_path / "file")  # type: ignore[attr-defined]
