"""Class scores to labels and confidence, for models that do not do it themselves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def classify(
    logits: NDArray[np.float32], size: tuple[int, int], *, with_confidence: bool = False, temperature: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Best class of each pixel as (H, W) uint8, and the softmax maximum times 255, (H, W) uint8, or None.

    logits: (C, h, w), of any size; they are resized bilinearly to `size`, (H, W), one class after the other, so that
    the scores of full size, which take more memory than the network, are never all there. Of equal scores the first
    class wins. temperature: see ModelCard.
    """
    best, labels = _full_size(logits[0], size).copy(), np.zeros(size, dtype=np.uint8)
    for index, scores in enumerate(logits[1:], start=1):
        full = _full_size(scores, size)
        won: NDArray[np.uint8] = cv2.compare(full, best, cv2.CMP_GT)  # type: ignore[assignment]  # 255 or 0
        cv2.max(labels, np.bitwise_and(won, np.uint8(index), out=won), dst=labels)  # classes come in rising order
        cv2.max(best, full, dst=best)
    if not with_confidence:
        return labels, None
    total = np.zeros_like(best)
    for scores in logits:
        share = cv2.subtract(_full_size(scores, size), best)
        if temperature != 1:
            share *= np.float32(1 / temperature)  # type: ignore[assignment,misc]
        total += np.exp(share, out=share)
    return labels, np.rint(255 / total).astype(np.uint8)


def scores_at(logits: NDArray[np.float32], size: tuple[int, int], pixels: NDArray[np.intp]) -> NDArray[np.float32]:
    """Scores (n, C) that `classify` compares at some pixels.

    logits: (C, h, w). size: (H, W). pixels: (n,) indices into a flattened (H, W).
    """
    return np.stack([_full_size(scores, size).ravel()[pixels] for scores in logits], axis=1)


def _full_size(scores: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Scores (h, w) of one class at (H, W), pixel centres aligned; the same array where they have that size."""
    if scores.shape == size:
        return scores
    return cv2.resize(scores, size[::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
