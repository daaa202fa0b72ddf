"""What an ONNX file holds: one that this package exported, or the authors' own. Needs no PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asymformer_ros import __version__
from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.catalogue import HOW_TO_GET_ONE
from asymformer_ros.models.labels import LabelSet, label_set_by_size
from asymformer_ros.models.mark import Tensor, read_mark
from asymformer_ros.models.model import Model
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.models.signature import FORMAT, VERSION, Signature
from asymformer_ros.optional import importing

with importing("onnx", "an ONNX model"):
    import onnx
    from onnx.external_data_helper import load_external_data_for_model, uses_external_data

    from asymformer_ros.onnx_graph.preprocess import take_camera_images
    from asymformer_ros.onnx_graph.storage import restore_weights


def read_onnx(path: Path, label_set: LabelSet | None = None) -> Model:
    """Read an ONNX file. label_set: of its classes, in place of what the file says.

    Raises CheckpointError where it is no ONNX file that this package can feed, ConfigurationError where it has another
    number of classes than the label set.
    """
    return describe(*_load(path), path, label_set)


def load(path: str | Path) -> Any:
    """The onnx.ModelProto of a file, its weights in FP32 however they are stored. Raises CheckpointError."""
    return _load(Path(path))[0]


def _load(path: Path) -> tuple[Any, str]:
    """The model, and the SHA-256 of all that was read: of the file, and of the weights that lie outside of it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} does not exist: `asymformer export` makes it from a model bundle. {HOW_TO_GET_ONE}"
        ) from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    try:
        model = onnx.ModelProto.FromString(content)
        outside = [tensor for tensor in _all_tensors(model.graph) if uses_external_data(tensor)]
        load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # protobuf's own, which differs between its versions
        raise CheckpointError(f"{path} is no readable ONNX file: {error}") from error
    if not model.graph.output:  # an empty file is a model without a graph
        raise CheckpointError(f"{path} is no readable ONNX file: it holds no network")
    digest = hashlib.sha256(content)
    for tensor in outside:
        digest.update(tensor.raw_data)
    return restore_weights(model), digest.hexdigest()


def _all_tensors(graph: Any) -> list[Any]:
    return [*graph.initializer, *(attribute.t for node in graph.node for attribute in node.attribute)]


def mark(proto: Any, card: ModelCard, model_sha256: str, precision: str = "fp32") -> None:
    """Say in a graph of camera images, in its metadata, what it is, for `read_mark`. Other metadata is dropped."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "package_version": __version__,
        "precision": precision,
        "model_sha256": model_sha256,
        "card": json.dumps(card.to_json(), sort_keys=True),
    }
    onnx.helper.set_model_props(proto, metadata)


def describe(proto: Any, sha256: str, path: Path, label_set: LabelSet | None = None) -> Model:
    """The Model that a ModelProto is, read from or meant for `path`. Raises as `read_onnx` does.

    A graph in the authors' layout is changed: it takes camera images, as our exports do, and is marked as one.
    """
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: _tensor(value) for value in proto.graph.input if value.name not in weights}
    outputs = {value.name: _tensor(value) for value in proto.graph.output}
    if metadata.get("format") == FORMAT:
        model = read_mark(path, metadata, inputs, tuple(outputs))
        model = model if label_set is None else replace(model, card=_relabelled(path, model.card, label_set))
    else:
        model, names = _foreign(path, inputs, outputs, label_set)
        normalization = model.card.normalization
        take_camera_images(proto, names, normalization.colour, normalization.millimetres)
        mark(proto, model.card, sha256)
    return replace(model, proto=proto, file_sha256=sha256)


def _relabelled(path: Path, card: ModelCard, label_set: LabelSet) -> ModelCard:
    _check_classes(path, len(card.label_set), label_set)
    return replace(card, label_set=label_set)


def _check_classes(path: Path, classes: int, label_set: LabelSet) -> None:
    if classes != len(label_set):
        raise ConfigurationError(
            f"{path} has {classes} classes but label set {label_set.name} has {len(label_set)}: "
            "choose the label set that the weights were trained with"
        )


def _foreign(
    path: Path, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], label_set: LabelSet | None
) -> tuple[Model, tuple[str, str]]:
    """The authors' layout: two normalised float inputs, told apart by their channels, and logits of full size.

    Returns the names of the inputs, colour's and depth's, too.
    """
    channels = {shape[1]: name for name, (kind, shape) in inputs.items() if kind == "float32" and len(shape) == 4}
    shapes = {shape[2:] for _, shape in inputs.values() if len(shape) == 4 and shape[0] == 1}
    logits = [(name, shape) for name, (kind, shape) in outputs.items() if kind == "float32" and len(shape) == 4]
    if len(inputs) != 2 or set(channels) != {1, 3} or len(shapes) != 1 or len(outputs) != 1 or len(logits) != 1:
        raise _not_fed(path, inputs, outputs)
    size = shapes.pop()
    name, shape = logits[0]
    if 0 in size or shape[2:] != size:
        raise _not_fed(path, inputs, outputs)
    height, width = size
    labels = label_set or label_set_by_size(path, shape[1])
    _check_classes(path, shape[1], labels)
    try:
        card = ModelCard(path.stem, labels, PUBLISHED_NORMALIZATION, (height, width), f"read from {path.name}")
    except ConfigurationError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Model(path, card, Signature(outputs=(name,))), (channels[3], channels[1])


def _tensor(value: Any) -> Tensor:
    elem_type = value.type.tensor_type.elem_type
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(elem_type).name
    except KeyError:  # a sequence, or a type of a later ONNX
        kind = f"of type {elem_type}"
    return kind, tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _not_fed(path: Path, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> CheckpointError:
    came = ", ".join(f"{name} {kind} {shape}" for name, (kind, shape) in (*inputs.items(), *outputs.items()))
    return CheckpointError(
        f"{path} has the inputs and outputs {came}: expected a file of `asymformer export`, or float32 inputs "
        "(1, 3, H, W) and (1, 1, H, W) and one output of float32 logits (1, classes, H, W), all sizes fixed"
    )
