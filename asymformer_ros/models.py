"""Names of models: a bundle's path, or one of the built-in untrained networks."""

from __future__ import annotations

from asymformer_ros.bundle import ModelBundle
from asymformer_ros.errors import CheckpointError
from asymformer_ros.labels import label_set
from asymformer_ros.network import FULL, SMALL

UNTRAINED = ("untrained", "untrained_full")
"""Seeded networks without training: small at 256x320, published size at 480x640. Their labels mean nothing."""


def open_model(model: str) -> ModelBundle:
    """Load a bundle by path, or make one of UNTRAINED.

    Raises CheckpointError, which says how to get a model, where there is none.
    """
    if not model:
        raise CheckpointError(
            "no model is given: set the parameter `model` to a bundle (make one from the authors' checkpoint with "
            "`asymformer convert CHECKPOINT BUNDLE --label-set nyuv2_40`), or to `untrained` to try everything "
            "around the network with labels that mean nothing"
        )
    if model == "untrained":
        return ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=(256, 320))
    if model == "untrained_full":
        return ModelBundle.untrained(FULL, label_set("nyuv2_40"), input_size=(480, 640))
    return ModelBundle.load(model)
