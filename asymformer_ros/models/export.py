"""A model bundle to one ONNX file that takes camera images and gives labels."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.onnx.utils import export as trace

from asymformer_ros import __version__
from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.camera_network import CameraNetwork
from asymformer_ros.models.onnx_file import mark
from asymformer_ros.onnx_graph.cpu import for_cpu
from asymformer_ros.onnx_graph.names import CAMERA_INPUTS, EXPORT_TARGETS, EXPORTED_OUTPUTS, LOGITS_OUTPUT
from asymformer_ros.onnx_graph.outputs import give_labels, give_logits4
from asymformer_ros.onnx_graph.simplify import simplify
from asymformer_ros.system.files import write_atomically

OPSET = 17  # the first with LayerNormalization, the last that TensorRT 8.6 reads
IR_VERSION = 8  # of opset 17's time: old runtimes refuse newer files


@dataclass(frozen=True)
class ExportOptions:
    """What an exported model takes and gives.

    input_size: (height, width), the card's where None. batch: images at a time. outputs: "labels" for labels and
    confidence, as engines give them; "logits4" for class scores at stride 4, for those who do the rest themselves.
    target: "cpu" for the form that ONNX Runtime computes fastest on a CPU and nothing else reads, of logits4 alone.
    Raises ConfigurationError.
    """

    input_size: tuple[int, int] | None = None
    batch: int = 1
    outputs: str = "labels"
    target: str = "any"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigurationError(f"batch must be at least 1, got {self.batch}")
        if self.outputs not in EXPORTED_OUTPUTS:
            raise ConfigurationError(f"outputs is '{self.outputs}': expected one of {', '.join(EXPORTED_OUTPUTS)}")
        if self.target not in EXPORT_TARGETS:
            raise ConfigurationError(f"target is '{self.target}': expected one of {', '.join(EXPORT_TARGETS)}")
        if self.target == "cpu" and self.outputs != "logits4":
            raise ConfigurationError(
                "a graph for CPUs gives class scores, what follows is faster outside: add `--classes-out logits4`"
            )


def export_model(bundle: ModelBundle, options: ExportOptions = ExportOptions()) -> Any:
    """The onnx.ModelProto of a bundle, opset 17, in FP32. Node names are the paths of the network's modules.

    Raises ConfigurationError for an input size that is no multiple of 32.
    """
    card = replace(bundle.card, input_size=options.input_size or bundle.card.input_size)
    network = CameraNetwork(bundle).eval()
    shape = (options.batch, *card.input_size)
    images = (torch.zeros(*shape, 3, dtype=torch.uint8), torch.zeros(*shape, 2, dtype=torch.uint8))
    traced = simplify(_trace(network, images))
    model = give_labels(traced, card.temperature) if options.outputs == "labels" else give_logits4(traced)
    model = for_cpu(model) if options.target == "cpu" else model
    model.ir_version, model.producer_name, model.producer_version = IR_VERSION, "asymformer_ros", __version__
    mark(model, card, bundle.sha256)
    return model


def _trace(network: CameraNetwork, images: tuple[Tensor, Tensor]) -> Any:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # each shape that the trace makes constant, as it is meant to
        file = str(Path(folder) / "traced.onnx")
        names, outputs = list(CAMERA_INPUTS), [LOGITS_OUTPUT]
        trace(network, images, file, input_names=names, output_names=outputs, opset_version=OPSET)
        return onnx.load(file)


def write_model(model: Any, path: Path) -> None:
    """Check a ModelProto and write it to `path`, whole or not at all. Raises CheckpointError where it cannot."""
    onnx.checker.check_model(model, full_check=True)
    try:
        write_atomically(path, model.SerializeToString(deterministic=True))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error
