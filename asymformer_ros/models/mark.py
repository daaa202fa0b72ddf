"""What the metadata of an exported graph says. Needs neither onnx nor PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.model import Model
from asymformer_ros.models.signature import VERSION, Signature
from asymformer_ros.onnx_graph.names import CAMERA_INPUTS
from asymformer_ros.system.files import parse_json

Tensor = tuple[str, tuple[int, ...]]
"""Type, such as "uint8", and shape; 0 stands for a dimension that is not fixed."""


def read_mark(path: Path, metadata: Mapping[str, str], inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> Model:
    """The Model that a graph's metadata tells of, without its graph. path: for people. outputs: their names.

    Raises CheckpointError where the metadata or the inputs are of another version or damaged.
    """
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is an export of version {metadata.get('version')}, this package reads version {VERSION}: "
            "update the package, or export the bundle again"
        )
    try:
        card = ModelCard.from_json(parse_json(metadata["card"]))
        _, shape = inputs[CAMERA_INPUTS[0]]
        exported_sha256, precision = metadata["model_sha256"], metadata["precision"]
    except (KeyError, ValueError, ConfigurationError) as error:
        raise CheckpointError(f"{path} has metadata that this version cannot read: {error}") from error
    if len(shape) != 4:
        raise CheckpointError(
            f"{path} takes '{CAMERA_INPUTS[0]}' of shape {shape}, expected (N, H, W, 3): it is damaged, export it again"
        )
    return Model(path, card, Signature(shape[0], outputs=outputs), precision, exported_sha256=exported_sha256)
