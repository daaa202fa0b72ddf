"""Class logits to labels and confidence, for models that do not do it themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def classify(
    logits: NDArray[np.float32], *, with_confidence: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Best class of each pixel of logits (C, H, W) as (H, W) uint8, and the softmax maximum times 255, or None.

    Class by class, since that reads the logits once and in order: argmax over the first axis takes three times as long.
    """
    best = logits[0].copy()
    labels = np.zeros(best.shape, dtype=np.uint8)
    for index, score in enumerate(logits[1:], start=1):
        labels[score > best] = index
        np.maximum(best, score, out=best)
    if not with_confidence:
        return labels, None
    total = np.zeros_like(best)
    for score in logits:
        total += np.exp(score - best)
    return labels, np.rint(255 / total).astype(np.uint8)
