"""Names of models: a bundle's path, weights that are known by name, or one of the built-in untrained networks."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from asymformer_ros.errors import CheckpointError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.catalogue import KnownWeights, model_files
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.network import FULL, SMALL, load_checkpoint


def open_model(model: str) -> ModelBundle:
    """Load a bundle by path or known name, or make one of UNTRAINED.

    Raises CheckpointError, which says how to get a model, where there is none.
    """
    if model == "untrained":
        return ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=(256, 320))
    if model == "untrained_full":
        return ModelBundle.untrained(FULL, label_set("nyuv2_40"), input_size=(480, 640))
    files = model_files(model)
    if not files.bundle:
        raise CheckpointError(f"{files.onnx} is an ONNX file: give the model bundle that it was exported from")
    return ModelBundle.load(files.bundle)


def adopt(known: KnownWeights, checkpoint: Path) -> ModelBundle:
    """Make the bundle of known weights from their checkpoint, and keep it where `open_model` finds it by name.

    Which file it was, with its hash, is in the card's provenance. Raises CheckpointError where it is damaged, or holds
    another network or another number of classes.
    """
    network, labels = load_checkpoint(checkpoint), label_set(known.label_set)
    classes = network.config.num_classes
    if classes != len(labels):
        raise CheckpointError(
            f"{checkpoint} has {classes} classes, but `{known.name}` has {len(labels)}: expected the file of "
            f"{known.origin}; make a bundle of this one with `asymformer convert`"
        )
    if network.config != replace(FULL, num_classes=classes):
        raise CheckpointError(f"{checkpoint} holds another network than the published one: expected {known.origin}")
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    provenance = f"{known.origin}, {known.licence}; converted from {checkpoint.name}, sha256 {sha256}"
    bundle = ModelBundle(ModelCard(known.name, labels, PUBLISHED_NORMALIZATION, provenance=provenance), network)
    bundle.save(known.bundle)
    return bundle
