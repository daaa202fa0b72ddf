"""What is in view: per-class figures of one segmented frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED, RgbdFrame, Segmentation


@dataclass(frozen=True)
class ClassStatistics:
    """One class in view. Distances in metres (NaN where no depth is known), centroid in pixels, fractions 0..1."""

    label: int
    pixel_fraction: float
    mean_confidence: float
    nearest_distance: float
    centroid: tuple[float, float]


def class_statistics(frame: RgbdFrame, segmentation: Segmentation) -> list[ClassStatistics]:
    """Figures of each class in view, largest first; unlabelled pixels are left out.

    segmentation must hold a confidence map. One pass over the pixels for each figure, whatever the class count.
    """
    if segmentation.confidence is None:
        raise ValueError("class statistics need a segmentation with confidence")
    height, width = frame.size
    labels = segmentation.labels.astype(np.intp)
    by_row = _histograms(labels + 256 * np.arange(height)[:, None], height)
    by_column = _histograms(labels + 256 * np.arange(width), width)
    by_confidence = _histograms(labels + 256 * segmentation.confidence.astype(np.intp), 256)
    counts = by_row.sum(axis=0)
    rows, columns = np.arange(height) @ by_row, np.arange(width) @ by_column
    confidences = np.arange(256) @ by_confidence / 255
    nearest = np.full(256, np.inf, dtype=np.float32)
    np.fmin.at(nearest, labels.reshape(-1), frame.depth.reshape(-1))
    present = [label for label in np.argsort(-counts, kind="stable") if counts[label] and label != UNLABELLED]
    return [
        ClassStatistics(
            label=int(label),
            pixel_fraction=float(counts[label] / labels.size),
            mean_confidence=float(confidences[label] / counts[label]),
            nearest_distance=float(nearest[label]) if np.isfinite(nearest[label]) else float("nan"),
            centroid=(float(columns[label] / counts[label]), float(rows[label] / counts[label])),
        )
        for label in present
    ]


def _histograms(bins: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Label histograms (count, 256) from bins = label + 256 * (0..count-1)."""
    return np.bincount(bins.reshape(-1), minlength=256 * count).reshape(count, 256)
