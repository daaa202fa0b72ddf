"""Scores against a slow reference: the arithmetic of published evaluations, on random and on real maps."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.labelled import labels_from_one
from asymformer_ros.evaluation.confusion import ConfusionMatrix

CLASSES = 13
Map = NDArray[np.uint8]
Pairs = Iterable[tuple[Map, Map]]


def reference(pairs: Pairs, classes: int) -> dict[str, object]:
    """Of pairs (truth, prediction) of 1..classes; truth is 0 where it is void, which takes a pixel out everywhere."""
    intersection, union, true, seen = np.zeros(classes), np.zeros(classes), np.zeros(classes), 0
    right = 0
    for truth, prediction in pairs:
        known = truth > 0
        seen += int(np.count_nonzero(known))
        right += int(np.count_nonzero(known & (prediction == truth)))
        for index in range(classes):
            is_true, is_said = truth == index + 1, (prediction == index + 1) & known
            intersection[index] += np.count_nonzero(is_true & is_said)
            union[index] += np.count_nonzero(is_true | is_said)
            true[index] += np.count_nonzero(is_true)
    iou = intersection / (union + 1e-10)
    return {
        "class_iou": iou,
        "mean_iou": iou.mean(),
        "mean_accuracy": (intersection / (true + 1e-10)).mean(),
        "pixel_accuracy": right / seen,
    }


def compare(maps: Callable[[], Pairs]) -> None:
    matrix = ConfusionMatrix(CLASSES)
    for truth, prediction in maps():
        matrix.add(labels_from_one(truth, CLASSES), prediction - np.uint8(1))
    ours, theirs = matrix.scores(), reference(maps(), CLASSES)
    assert 0.05 < ours.mean_iou < 0.95
    for name, value in theirs.items():
        np.testing.assert_allclose(getattr(ours, name), value, rtol=0, atol=1e-9, err_msg=name)


def test_random_maps_have_the_scores_of_the_reference() -> None:
    def maps() -> Pairs:
        rng = np.random.default_rng(3)
        for _ in range(30):
            truth = rng.integers(0, CLASSES + 1, (24, 32), dtype=np.uint8)
            said = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(1, CLASSES + 1, truth.shape))
            yield truth, np.maximum(said, 1).astype(np.uint8)

    compare(maps)


def test_the_real_nyuv2_maps_have_the_scores_of_the_reference(nyuv2_labels: Path) -> None:
    """Each frame's prediction is its own truth, moved by some pixels, with the void filled from the frame before."""
    with tarfile.open(nyuv2_labels / "nyuv2_test_labels_13class.tar.gz") as archive:
        members = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
        files = [np.frombuffer(archive.extractfile(member).read(), np.uint8) for member in members]  # type: ignore[union-attr]
    assert len(files) == 654

    def maps() -> Pairs:
        before = np.ones((480, 640), np.uint8)
        for file in files:
            truth = cv2.imdecode(file, cv2.IMREAD_UNCHANGED)
            moved = np.roll(truth, (9, -14), (0, 1))
            before = np.where(moved == 0, before, moved)
            yield truth, before  # type: ignore[misc]

    compare(maps)
