"""What is in view: per-class figures of one segmented frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.depth import Depth
from asymformer_ros.frames.frame import UNLABELLED

_NONE = np.uint16(65535)
"""Nearest of nothing: one less than 0 millimetres in uint16, so that unknown depth is the farthest."""


@dataclass(frozen=True)
class ClassStatistics:
    """One class in view.

    pixel_fraction, mean_confidence: 0..1, the latter NaN where there is no confidence map. nearest_distance: metres,
    NaN where no depth is known. centroid: (x, y) in pixels.
    """

    label: int
    name: str
    pixel_fraction: float
    mean_confidence: float
    nearest_distance: float
    centroid: tuple[float, float]


def class_statistics(
    labels: NDArray[np.uint8], confidence: NDArray[np.uint8] | None, depth: Depth, names: Sequence[str]
) -> tuple[ClassStatistics, ...]:
    """Figures of each class in view, largest first; unlabelled pixels are left out.

    labels, confidence: (H, W). depth: (H, W), metres or millimetres as `Depth` says. names: of the classes 0..N-1.
    One pass over the rows that hold a class, for each class in view.
    """
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()
    present = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label] and label != UNLABELLED]
    near = _ordered(depth)
    return tuple(_statistics(label, names[label], labels, confidence, near) for label in present)


def _statistics(
    label: int, name: str, labels: NDArray[np.uint8], confidence: NDArray[np.uint8] | None, near: Depth
) -> ClassStatistics:
    mask = np.equal(labels, label).view(np.uint8)
    by_row = cv2.reduce(mask, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    rows = np.flatnonzero(by_row)
    band = slice(rows[0], rows[-1] + 1)
    mask = mask[band]
    by_column = cv2.reduce(mask, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    count = int(by_row.sum())
    total = nan if confidence is None else cv2.sumElems(np.multiply(confidence[band], mask))[0] / 255
    return ClassStatistics(
        label=label,
        name=name,
        pixel_fraction=count / labels.size,
        mean_confidence=total / count,
        nearest_distance=_nearest(near[band], mask),
        centroid=(_centre(by_column, count), _centre(by_row, count)),
    )


def _centre(histogram: NDArray[Any], count: int) -> float:
    return int(np.arange(len(histogram)) @ histogram.astype(np.int64)) / count


def _ordered(depth: Depth) -> Depth:
    """Depth whose smallest value is the nearest known one: millimetres less 1, or metres, infinite where unknown."""
    if depth.dtype == np.uint16:
        return depth - np.uint16(1)  # type: ignore[return-value]
    return cv2.patchNaNs(depth.copy(), np.inf)  # type: ignore[return-value]


def _nearest(near: Depth, mask: NDArray[np.uint8]) -> float:
    """Metres; NaN where nothing is known. near: of `_ordered`."""
    nearest, _, place, _ = cv2.minMaxLoc(near, mask=mask)
    if place[0] < 0:  # OpenCV 4.6 has found nothing below the largest value
        return nan
    if near.dtype == np.uint16:
        return nan if nearest == _NONE else float(np.float32(nearest + 1) * np.float32(0.001))
    return nearest if np.isfinite(nearest) else nan
