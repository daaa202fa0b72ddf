"""Opens models by name or path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.models.catalogue import UNTRAINED, model_files
from asymformer_ros.models.labels import LabelSet, label_set, read_label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.signature import Signature
from asymformer_ros.models.sizes import INPUT_SIZES, size_name

if TYPE_CHECKING:
    from asymformer_ros.models.bundle import ModelBundle


def open_model(
    name: str, *, batch: int = 1, label_set: str = "", form: str = "", input_size: tuple[int, int] | None = None
) -> Model:
    """Open a bundle, an .onnx file, a checkpoint, known weights, or one of UNTRAINED.

    batch: images at a time; an ONNX file has its own. label_set: name or .json file of the classes, in place of those
    that the file names. form: which of the two files of known weights is read, "bundle" or "onnx"; "" for the bundle
    where PyTorch is installed, else the ONNX file. input_size: (height, width) in place of the card's; the model is
    known by the same hash. Raises CheckpointError, which says how to get a model, where there is none that can be
    read, ConfigurationError where the label set or the input size does not fit.
    """
    files = model_files(name)
    labels = read_label_set(label_set) if label_set else None
    path = {"bundle": files.bundle, "onnx": files.onnx}.get(form) or files.readable
    if path.lower().endswith(".onnx"):
        from asymformer_ros.models.onnx_file import read_onnx

        return _of_one_size(read_onnx(Path(path), labels), input_size)
    if batch < 1:
        raise ConfigurationError(f"batch must be at least 1, got {batch}")
    bundle = _open_bundle(path, labels)
    model = Model(Path(path), bundle.card, Signature(batch), bundle=bundle)
    if input_size is None:
        return model
    sized = replace(bundle, card=replace(bundle.card, input_size=input_size))
    return replace(model, card=sized.card, bundle=sized, exported_sha256=model.model_sha256)


def _of_one_size(model: Model, input_size: tuple[int, int] | None) -> Model:
    if input_size and input_size != model.card.input_size:
        raise ConfigurationError(
            f"model '{model.path}' is an ONNX file, of one size, {size_name(model.card.input_size)}, not "
            f"{size_name(input_size)}: give the bundle that it was exported from, which needs PyTorch"
        )
    return model


def open_bundle(name: str, label_set: str = "") -> ModelBundle:
    """The network of a model, for those who need PyTorch's: as `open_model`, but an ONNX file is a CheckpointError."""
    files = model_files(name)
    if not files.bundle:
        raise CheckpointError(f"{files.onnx} is an ONNX file: give the model bundle that it was exported from")
    return _open_bundle(files.bundle, read_label_set(label_set) if label_set else None)


def _open_bundle(path: str, labels: LabelSet | None) -> ModelBundle:
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.network.checkpoint import holds_safetensors

    if path in UNTRAINED:
        return _untrained(path, labels)
    if Path(path).is_file() and not holds_safetensors(Path(path)):
        return ModelBundle.of_checkpoint(Path(path), labels)
    bundle = ModelBundle.load(path)
    return bundle if labels is None else ModelBundle(replace(bundle.card, label_set=labels), bundle.network)


def _untrained(name: str, labels: LabelSet | None) -> ModelBundle:
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.network import CONFIGS

    size = "small" if name == "untrained" else "full"
    return ModelBundle.untrained(CONFIGS[size], labels or label_set("nyuv2_40"), input_size=INPUT_SIZES[size])
