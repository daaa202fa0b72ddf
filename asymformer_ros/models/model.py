"""A model that is opened once: whatever serves, builds, analyses or exports one takes a `Model`, never a path."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.models.card import INPUT_SIZES, ModelCard
from asymformer_ros.models.catalogue import UNTRAINED, model_files
from asymformer_ros.models.labels import LabelSet, label_set, read_label_set
from asymformer_ros.models.signature import Signature

if TYPE_CHECKING:
    from onnx import ModelProto

    from asymformer_ros.models.bundle import ModelBundle


@dataclass(frozen=True, eq=False)
class Model:
    """What was read of one model's file, and what follows from it. It is not read again.

    path: where it came from, for people. signature: of its graph. precision: of its graph, "fp32" or "mixed".
    bundle: the network in PyTorch; None where an ONNX file was read, which is then `proto`, its weights in FP32.
    file_sha256, exported_sha256: of the ONNX file, and of the bundle that it was exported from, "" where not known.
    """

    path: Path
    card: ModelCard
    signature: Signature = field(default_factory=Signature)
    precision: str = "fp32"
    bundle: ModelBundle | None = None
    proto: ModelProto | None = None
    file_sha256: str = ""
    exported_sha256: str = ""

    @property
    def name(self) -> str:
        """For people, and for the names of folders."""
        return self.path.stem if self.proto is not None else self.card.name

    @cached_property
    def sha256(self) -> str:
        """Of all that was loaded: of weights, configuration and card, or of the ONNX file with its external data."""
        return self.bundle.sha256 if self.bundle else self.file_sha256

    @property
    def model_sha256(self) -> str:
        """Of the ModelBundle, which several exports of it have in common; of the ONNX file where none is known."""
        return self.exported_sha256 or self.sha256

    @property
    def batch(self) -> int:
        """Images at a time."""
        return self.signature.batch

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the graph's inputs, by name."""
        return self.signature.shapes(self.card.input_size)

    def feeds(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The inputs of the graph for one frame of the card's input size: see Signature."""
        return self.signature.feeds(rgb, depth, self.card.normalization)

    @cached_property
    def graph(self) -> ModelProto:
        """The plain FP32 graph, as `simplify` makes it; not to be changed. Made once; PyTorch is imported only then."""
        if self.bundle is None:
            from asymformer_ros.onnx_graph.simplify import simplify

            return simplify(self.proto)
        from asymformer_ros.models.export import ExportOptions, export_model

        return export_model(self.bundle, ExportOptions(batch=self.batch))


def open_model(name: str, *, batch: int = 1, label_set: str = "", form: str = "") -> Model:
    """Open a bundle, an .onnx file, a checkpoint, known weights, or one of UNTRAINED.

    batch: images at a time; an ONNX file has its own. label_set: name or .json file of the classes, in place of those
    that the file names. form: which of the two files of known weights is read, "bundle" or "onnx"; "" for the bundle
    where PyTorch is installed, else the ONNX file. Raises CheckpointError, which says how to get a model, where there
    is none that can be read, ConfigurationError where the label set does not fit.
    """
    files = model_files(name)
    labels = read_label_set(label_set) if label_set else None
    path = {"bundle": files.bundle, "onnx": files.onnx}.get(form) or files.readable
    if path.endswith(".onnx"):
        from asymformer_ros.models.onnx_file import read_onnx

        return read_onnx(Path(path), labels)
    if batch < 1:
        raise ConfigurationError(f"batch must be at least 1, got {batch}")
    bundle = _open_bundle(path, labels)
    return Model(Path(path), bundle.card, Signature(batch), bundle=bundle)


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
