"""What an ONNX file holds: one that this package exported, or the authors' own. Needs no PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.catalogue import HOW_TO_GET_ONE
from asymformer_ros.models.labels import label_sets_by_size
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION, normalize

try:
    import onnx

    from asymformer_ros.onnx_graph.storage import restore_weights
except ImportError as error:  # pragma: no cover - needs an environment without ONNX
    raise CheckpointError(
        f"an ONNX model needs the package onnx, which cannot be imported here ({error}): "
        "install it with `pip install onnx onnxruntime`"
    ) from error

FORMAT = "asymformer_onnx"
VERSION = "1"

CAMERA_INPUTS = ("rgb", "depth")
LABEL_OUTPUTS = ("labels", "confidence")
LOGITS_OUTPUT = "logits"

Tensor = tuple[str, tuple[int, ...]]
"""Type, such as "uint8", and shape; 0 stands for a dimension that is not fixed."""


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file, its card, and how to feed it.

    takes_camera_images: True: rgb (batch, H, W, 3) uint8 and depth (batch, H, W, 2) uint8 as `depth_bytes` packs it;
    False: rgb (1, 3, H, W) and depth (1, 1, H, W) float32, normalised.
    rgb, depth: names of the inputs. outputs: LABEL_OUTPUTS, each (batch, H, W) uint8, or the name of one output of
    float logits (batch, C, H, W). sha256: of the file. model_sha256: of the ModelBundle that was exported, which
    several files can have in common; of the file where no bundle is known. precision: "fp32" or "mixed".
    """

    path: Path
    card: ModelCard
    sha256: str
    model_sha256: str
    takes_camera_images: bool
    rgb: str
    depth: str
    outputs: tuple[str, ...]
    batch: int = 1
    precision: str = "fp32"

    @property
    def gives_labels(self) -> bool:
        """Whether labels and confidence come out; otherwise it is logits."""
        return self.outputs == LABEL_OUTPUTS

    @staticmethod
    def open(path: str | Path) -> OnnxModel:
        """Read a file's description. Raises CheckpointError where it is no ONNX file that this package can feed."""
        path = Path(path)
        return describe(load(path), path, hashlib.sha256(path.read_bytes()).hexdigest())

    def feeds(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The inputs, by name, that a frame of the card's input size becomes, for a batch of 1.

        rgb (h, w, 3) uint8 and depth (h, w) float32 metres, NaN where unknown.
        """
        if self.takes_camera_images:
            return {self.rgb: np.ascontiguousarray(rgb)[None], self.depth: depth_bytes(depth)[None]}
        colour, metres = normalize(rgb, depth, self.card.normalization)
        return {self.rgb: colour, self.depth: metres}


def load(path: str | Path) -> Any:
    """The onnx.ModelProto of a file, its weights in FP32 however they are stored. Raises CheckpointError."""
    try:
        model = restore_weights(onnx.load(str(path)))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} does not exist: `asymformer export` makes it from a model bundle. {HOW_TO_GET_ONE}"
        ) from None
    except Exception as error:  # protobuf's own, which differs between its versions
        raise CheckpointError(f"{path} is no readable ONNX file: {error}") from error
    if not model.graph.output:  # an empty file is a model without a graph
        raise CheckpointError(f"{path} is no readable ONNX file: it holds no network")
    return model


def describe(model: Any, path: Path, sha256: str) -> OnnxModel:
    """Description of a ModelProto, read from or meant for `path`. Raises CheckpointError as `OnnxModel.open` does."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: _tensor(value) for value in model.graph.input if value.name not in weights}
    outputs = {value.name: _tensor(value) for value in model.graph.output}
    if metadata.get("format") == FORMAT:
        return _exported(path, sha256, metadata, inputs, outputs)
    return _foreign(path, sha256, inputs, outputs)


def _exported(
    path: Path, sha256: str, metadata: Mapping[str, str], inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> OnnxModel:
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is an export of version {metadata.get('version')}, this package reads version {VERSION}: "
            "update the package, or export the bundle again"
        )
    try:
        card = ModelCard.from_json(json.loads(metadata["card"]))
        return OnnxModel(
            path=path,
            card=card,
            sha256=sha256,
            model_sha256=metadata["model_sha256"],
            takes_camera_images=True,
            rgb=CAMERA_INPUTS[0],
            depth=CAMERA_INPUTS[1],
            outputs=tuple(outputs),
            batch=inputs[CAMERA_INPUTS[0]][1][0],
            precision=metadata["precision"],
        )
    except (KeyError, ValueError, ConfigurationError) as error:
        raise CheckpointError(f"{path} has metadata that this version cannot read: {error}") from error


def _foreign(path: Path, sha256: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> OnnxModel:
    """The authors' layout: two normalised float inputs, told apart by their channels, and logits of full size."""
    channels = {shape[1]: name for name, (kind, shape) in inputs.items() if kind == "float32" and len(shape) == 4}
    shapes = {shape[2:] for _, shape in inputs.values() if len(shape) == 4 and shape[0] == 1}
    logits = [(name, shape) for name, (kind, shape) in outputs.items() if kind == "float32" and len(shape) == 4]
    if len(inputs) != 2 or set(channels) != {1, 3} or len(shapes) != 1 or len(outputs) != 1 or len(logits) != 1:
        raise _not_fed(path, inputs, outputs)
    size = shapes.pop()
    name, shape = logits[0]
    if 0 in size or shape[2:] != size:
        raise _not_fed(path, inputs, outputs)
    labels = label_sets_by_size()
    if shape[1] not in labels:
        raise CheckpointError(
            f"{path} has {shape[1]} classes and no label set: without one it can have {', '.join(map(str, labels))}. "
            "Make a bundle of the checkpoint with `asymformer convert --label-set`, and export that"
        )
    known, (height, width) = labels[shape[1]], size
    try:
        card = ModelCard(path.stem, known, PUBLISHED_NORMALIZATION, (height, width), f"read from {path.name}")
    except ConfigurationError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return OnnxModel(path, card, sha256, sha256, False, channels[3], channels[1], (name,))


def _tensor(value: Any) -> Tensor:
    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
    return kind, tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _not_fed(path: Path, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> CheckpointError:
    came = ", ".join(f"{name} {kind} {shape}" for name, (kind, shape) in (*inputs.items(), *outputs.items()))
    return CheckpointError(
        f"{path} has the inputs and outputs {came}: expected a file of `asymformer export`, or float32 inputs "
        "(1, 3, H, W) and (1, 1, H, W) and one output of float32 logits (1, classes, H, W), all sizes fixed"
    )
