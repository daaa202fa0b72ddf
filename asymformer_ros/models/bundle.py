"""One file for one model: weights, and all that has to be known to use them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import LabelSet, label_set, label_set_by_size
from asymformer_ros.optional import importing
from asymformer_ros.system.files import parse_json, write_atomically

with importing("torch", "bundles and checkpoints"):
    import torch
    from torch import Tensor
with importing("safetensors", "bundles and checkpoints"):
    from safetensors.torch import save as serialize

from asymformer_ros.models.catalogue import HOW_TO_GET_ONE, KnownWeights
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.network.asymformer import FULL, AsymFormer, AsymFormerConfig
from asymformer_ros.network.checkpoint import (
    CONFIG_KEY,
    config_from_json,
    config_to_json,
    holds_safetensors,
    load_checkpoint,
    network_from_tensors,
    read_safetensors,
)
from asymformer_ros.onnx_graph.half import stored_by_half

FORMAT = "asymformer_bundle"
VERSION = "1"


@dataclass(frozen=True)
class ModelBundle:
    """A network with its card. Raises ConfigurationError where the two differ in their number of classes.

    In a file it is safetensors, the metadata holding `format`, `version`, `config` and `card`.
    """

    card: ModelCard
    network: AsymFormer

    def __post_init__(self) -> None:
        classes, labels = self.network.config.num_classes, self.card.label_set
        if classes != len(labels):
            raise ConfigurationError(
                f"the network has {classes} classes but label set {labels.name} has {len(labels)}: "
                "choose the label set that the weights were trained with"
            )

    @property
    def sha256(self) -> str:
        """Hash of weights, configuration and card: the same model has the same hash, whoever wrote its file."""
        digest = hashlib.sha256()
        for key, text in sorted(self._metadata().items()):
            digest.update(f"{key}={text}\n".encode())
        for key, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(memoryview(tensor.detach().cpu().contiguous().numpy()).cast("B") if tensor.numel() else b"")
        return digest.hexdigest()

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write one .safetensors file, whole or not at all; half: in FP16 what `stored_by_half` says.

        Raises CheckpointError where it cannot be written, or a weight is too large for FP16.
        """
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in self.network.state_dict().items()}
        if half:
            tensors = {key: _halved(key, tensor) for key, tensor in tensors.items()}
        try:
            write_atomically(Path(path), serialize(tensors, self._metadata()))
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error.strerror}") from error

    @staticmethod
    def load(path: str | Path) -> ModelBundle:
        """Bundle of a file, its network in evaluation mode, float32, on the CPU.

        Raises CheckpointError where there is none, or the file is another thing, saying how to get or make one.
        """
        path = Path(path)
        if not path.exists():
            raise CheckpointError(
                f"{path} does not exist: `asymformer convert` makes a bundle of a checkpoint. {HOW_TO_GET_ONE}"
            )
        if not holds_safetensors(path):
            raise _convert_first(path)
        tensors, metadata = read_safetensors(path)
        if metadata.get("format") != FORMAT:
            raise _convert_first(path)
        if metadata.get("version") != VERSION:
            raise CheckpointError(
                f"{path} is a bundle of version {metadata.get('version')}, this package reads version {VERSION}: "
                "update the package, or convert the checkpoint again"
            )
        card = _card_from_json(path, metadata.get("card", ""))
        network = network_from_tensors(path, config_from_json(path, metadata.get(CONFIG_KEY, "")), tensors)
        try:
            return ModelBundle(card, network)
        except ConfigurationError as error:
            raise CheckpointError(f"{path} contradicts itself: {error}") from error

    @staticmethod
    def of_checkpoint(path: Path, label_set: LabelSet | None = None) -> ModelBundle:
        """Bundle of a published checkpoint, of any release, with the published normalisation.

        label_set: by its number of classes where None. Raises CheckpointError, or ConfigurationError where the label
        set does not fit.
        """
        network = load_checkpoint(path)
        classes = label_set or label_set_by_size(path, network.config.num_classes)
        card = ModelCard(path.stem, classes, PUBLISHED_NORMALIZATION, provenance=f"read from {path.name}")
        return ModelBundle(card, network)

    @staticmethod
    def untrained(
        config: AsymFormerConfig, label_set: LabelSet, seed: int = 0, input_size: tuple[int, int] = (480, 640)
    ) -> ModelBundle:
        """Bundle with random weights, the same for the same seed, to try everything around the network.

        The number of classes is the label set's. Its labels mean nothing.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = AsymFormer(replace(config, num_classes=len(label_set))).eval()
        provenance = f"random weights of seed {seed}, never trained: the labels mean nothing"
        return ModelBundle(ModelCard("untrained", label_set, PUBLISHED_NORMALIZATION, input_size, provenance), network)

    def _metadata(self) -> dict[str, str]:
        return {
            "format": FORMAT,
            "version": VERSION,
            CONFIG_KEY: config_to_json(self.network.config),
            "card": json.dumps(self.card.to_json(), sort_keys=True),
        }


def install(known: KnownWeights, checkpoint: Path) -> ModelBundle:
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


def holds_bundle(path: Path) -> bool:
    """Whether a file is a bundle, of whatever version. Raises CheckpointError where it is no weights file at all."""
    return holds_safetensors(path) and read_safetensors(path)[1].get("format") == FORMAT


def _halved(key: str, tensor: Tensor) -> Tensor:
    half = stored_by_half(key, tensor.numpy()) if tensor.is_floating_point() else None
    return tensor if half is None else torch.from_numpy(half)


def _convert_first(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is no model bundle. If it is a checkpoint, make a bundle of it with "
        f"`asymformer convert {path} {path.stem}_bundle.safetensors --label-set nyuv2_40`"
    )


def _card_from_json(path: Path, text: str) -> ModelCard:
    try:
        return ModelCard.from_json(parse_json(text))
    except (ValueError, TypeError, ConfigurationError) as error:
        raise CheckpointError(f"{path} has a card that this version cannot read: {error}") from error
