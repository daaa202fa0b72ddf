"""Class scores of several images to one Prediction."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.inference.backend import Prediction
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.scores import classify


def classify_all(
    images: Iterable[NDArray[np.float32]], card: ModelCard, *, with_confidence: bool = False
) -> Prediction:
    """What `classify` says to a model's class scores (C, h, w) of each image, in its input size, as one batch."""
    parts = []
    for scores in images:
        labels, share = classify(scores, card.input_size, with_confidence=with_confidence, temperature=card.temperature)
        parts.append(Prediction(labels[None], None if share is None else share[None]))
    return Prediction.joined(parts)
