"""Counts of true against predicted classes, and the scores that segmentation papers report of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.frame import UNLABELLED


@dataclass(frozen=True)
class Scores:
    """Shares, 0..1, of labelled pixels.

    class_iou: of each class, intersection over union of true and predicted pixels; None, 0/0, where no pixel is or is
    predicted to be of the class.
    mean_iou: mean of class_iou over all classes; those that are None are skipped. (The authors' code counts them as 0:
    the same where all classes occur in the truth.)
    mean_iou_present: mean of class_iou over the classes that occur in the truth.
    mean_accuracy: mean, over the classes that occur in the truth, of the share of their pixels that is predicted right.
    pixel_accuracy: share of all pixels that is predicted right.
    """

    mean_iou: float
    mean_iou_present: float
    mean_accuracy: float
    pixel_accuracy: float
    class_iou: tuple[float | None, ...]


class ConfusionMatrix:
    """Counts pixels by true and predicted class; pixels without a true class do not count.

    counts: (N, N + 1) int64, row: true class, column: predicted class, the last one: no class.
    Raises ConfigurationError for a number of classes outside 1..255.
    """

    def __init__(self, num_classes: int) -> None:
        if not 1 <= num_classes <= UNLABELLED:
            raise ConfigurationError(f"{num_classes} classes cannot be compared: expected 1 to {UNLABELLED}")
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes + 1), np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count the pixels of a frame.

        truth: uint8, class 0..N-1, or 255 where there is none. predicted: uint8, the same shape; what is no class, such
        as 255, is wrong. Raises FrameError for another shape, type or true class, and counts nothing then.
        """
        self.counts += count_pixels(truth, predicted, len(self.counts))[0]

    def scores(self) -> Scores:
        """The scores of all that was added. Raises FrameError where no pixel had a true class."""
        true, right = self.counts.sum(axis=1), self.counts.diagonal()
        if not true.any():
            raise FrameError("no pixel has a true class: nothing can be scored; are these the labels of the data set?")
        union = true + self.counts[:, :-1].sum(axis=0) - right
        occurs, counted = true > 0, union > 0
        iou = right / np.maximum(union, 1)
        return Scores(
            mean_iou=float(iou[counted].mean()),
            mean_iou_present=float(iou[occurs].mean()),
            mean_accuracy=float((right[occurs] / true[occurs]).mean()),
            pixel_accuracy=float(right.sum() / true.sum()),
            class_iou=tuple(float(share) if there else None for share, there in zip(iou, counted, strict=True)),
        )


def count_pixels(
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    classes: int,
    groups: NDArray[np.uint8] | None = None,
    num_groups: int = 1,
) -> NDArray[np.int64]:
    """(num_groups, classes, classes + 1): the counts of a ConfusionMatrix over the pixels of each group.

    groups: of the shape of truth, 0..num_groups-1; None for one group. The rest, and errors: see `ConfusionMatrix.add`.
    """
    if truth.shape != predicted.shape or truth.dtype != np.uint8 or predicted.dtype != np.uint8:
        raise FrameError(
            f"truth is {truth.shape} {truth.dtype} and prediction {predicted.shape} {predicted.dtype}: "
            "expected uint8 of one shape"
        )
    columns = classes + 1
    cells = truth.astype(np.intp) * columns + np.minimum(predicted, np.uint8(classes))
    if groups is not None:
        cells += groups.astype(np.intp) * (256 * columns)
    counts = np.bincount(cells.ravel(), minlength=num_groups * 256 * columns).reshape(num_groups, 256, columns)
    if counts[:, classes:UNLABELLED].any():
        raise FrameError(f"truth has a class above {classes - 1}: expected 0 to {classes - 1}, or {UNLABELLED}")
    return counts[:, :classes]


def percent(share: float | None) -> str:
    """Of 0..1, with two digits; a dash where there is none."""
    return "-" if share is None else f"{share * 100:.2f}"
