"""How far confidences can be trusted: the share of pixels that are right, by confidence."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED

BINS = 15
"""Of the expected calibration error, as in Guo et al. 2017."""

_LEVELS = 256  # of a confidence map
_LOG_TEMPERATURES = (-2.0, 3.0)  # 0.14 to 20
_GOLDEN = (5**0.5 - 1) / 2
_STEPS = 40  # of the search: the interval is then 2e-8 wide


@dataclass(frozen=True)
class Bin:
    """Pixels of similar confidence: their share of all, mean confidence and share that is right, all 0..1."""

    share: float
    confidence: float
    accuracy: float


@dataclass
class Reliability:
    """Counts pixels with a true class by the level of their confidence. seen, right: (256,) int64."""

    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_LEVELS, np.int64))
    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_LEVELS, np.int64))

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count the pixels of a frame. All (H, W) uint8; truth is 255 where there is none."""
        known = truth != UNLABELLED
        right = known & (truth == predicted)
        self.seen += np.bincount(confidence[known], minlength=_LEVELS)
        self.right += np.bincount(confidence[right], minlength=_LEVELS)

    @property
    def ece(self) -> float | None:
        """Expected calibration error, 0..1: mean distance of confidence and accuracy; None where nothing was counted.

        Over BINS bins of equal width.
        """
        return sum(one.share * abs(one.confidence - one.accuracy) for one in self.bins()) if self.seen.any() else None

    def bins(self) -> list[Bin]:
        """The bins that hold pixels, by rising confidence."""
        levels = np.arange(_LEVELS) / (_LEVELS - 1)
        at = np.minimum((levels * BINS).astype(int), BINS - 1)
        total = self.seen.sum()
        found = []
        for index in range(BINS):
            seen, right = self.seen[at == index], self.right[at == index]
            if seen.any():
                mean = float((seen * levels[at == index]).sum() / seen.sum())
                found.append(Bin(float(seen.sum() / total), mean, float(right.sum() / seen.sum())))
        return found

    def above(self, confidence: float) -> tuple[float, float | None]:
        """Share of the pixels that keep their label with this min_confidence, and the share of those that is right."""
        first = int(np.ceil(confidence * (_LEVELS - 1)))
        seen, right = self.seen[first:].sum(), self.right[first:].sum()
        return float(seen / max(1, self.seen.sum())), float(right / seen) if seen else None


def reliability_of(scores: NDArray[np.float32], truth: NDArray[np.uint8], temperature: float) -> Reliability:
    """Of scores (pixels, classes) with a temperature, and the true classes (pixels,)."""
    spread = (scores - scores.max(axis=1, keepdims=True)) * np.float32(1 / temperature)
    confidence = np.rint(255 / np.exp(spread).sum(axis=1)).astype(np.uint8)
    reliability = Reliability()
    reliability.add(truth, scores.argmax(axis=1).astype(np.uint8), confidence)
    return reliability


def fit_temperature(scores: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """The temperature under which the true classes are most likely (Guo et al. 2017).

    scores: (pixels, classes), logits. truth: (pixels,) uint8, 0..classes-1. At least one pixel.
    """
    spread = scores - scores.max(axis=1, keepdims=True)
    true = spread[np.arange(len(truth)), truth]

    def loss(log_temperature: float) -> float:
        """Mean negative log-likelihood: it has one minimum."""
        cooler = np.float32(np.exp(-log_temperature))
        return float((np.log(np.exp(spread * cooler).sum(axis=1)) - true * cooler).mean())

    low, high = _LOG_TEMPERATURES
    for _ in range(_STEPS):  # golden section
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
