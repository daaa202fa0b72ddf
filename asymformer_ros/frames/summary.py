"""What is in view: per-class figures of one segmented frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED


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
    labels: NDArray[np.uint8], confidence: NDArray[np.uint8] | None, depth: NDArray[np.float32], names: Sequence[str]
) -> tuple[ClassStatistics, ...]:
    """Figures of each class in view, largest first; unlabelled pixels are left out.

    labels, confidence: (H, W). depth: (H, W) metres, NaN where unknown. names: of the classes 0..N-1.
    One pass over the pixels for each figure, whatever the class count.
    """
    height, width = labels.shape
    index = labels.astype(np.intp)
    by_row = _histograms(index + 256 * np.arange(height)[:, None], height)
    by_column = _histograms(index + 256 * np.arange(width), width)
    counts = by_row.sum(axis=0)
    rows, columns = np.arange(height) @ by_row, np.arange(width) @ by_column
    confidences = _confidence_sums(index, confidence)
    nearest = np.full(256, np.inf, dtype=np.float32)
    np.fmin.at(nearest, index.reshape(-1), depth.reshape(-1))
    present = [label for label in np.argsort(-counts, kind="stable") if counts[label] and label != UNLABELLED]
    return tuple(
        ClassStatistics(
            label=int(label),
            name=names[label],
            pixel_fraction=float(counts[label] / labels.size),
            mean_confidence=float(confidences[label] / counts[label]),
            nearest_distance=float(nearest[label]) if np.isfinite(nearest[label]) else float("nan"),
            centroid=(float(columns[label] / counts[label]), float(rows[label] / counts[label])),
        )
        for label in present
    )


def _confidence_sums(index: NDArray[np.intp], confidence: NDArray[np.uint8] | None) -> NDArray[np.float64]:
    """Sum of the confidences 0..1 of each label's pixels: (256,), NaN without a confidence map."""
    if confidence is None:
        return np.full(256, np.nan)
    return np.arange(256) @ _histograms(index + 256 * confidence.astype(np.intp), 256) / 255


def _histograms(bins: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Label histograms (count, 256) from bins = label + 256 * (0..count-1)."""
    return np.bincount(bins.reshape(-1), minlength=256 * count).reshape(count, 256)
