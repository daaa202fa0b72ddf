"""A model bundle to one ONNX file that takes camera images and gives labels."""

# mypy: disable-error-code="no-any-return"
from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.onnx.utils import export as trace

from asymformer_ros import __version__
from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.files import write_atomically
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.normalization import Normalization
from asymformer_ros.models.onnx_file import FORMAT, VERSION
from asymformer_ros.models.signature import CAMERA_INPUTS, LABEL_OUTPUTS, LOGITS_OUTPUT
from asymformer_ros.network import AsymFormer
from asymformer_ros.network.deploy import fold
from asymformer_ros.onnx_graph.simplify import simplify

OPSET = 17  # the first with LayerNormalization, the last that TensorRT 8.6 reads
IR_VERSION = 8  # of opset 17's time: old runtimes refuse newer files

OUTPUTS = ("labels", "logits")


@dataclass(frozen=True)
class ExportOptions:
    """What an exported model takes and gives.

    input_size: (height, width), the card's where None. batch: images at a time. outputs: "labels" for labels and
    confidence, "logits" for float logits of full size. Raises ConfigurationError.
    """

    input_size: tuple[int, int] | None = None
    batch: int = 1
    outputs: str = "labels"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigurationError(f"batch must be at least 1, got {self.batch}")
        if self.outputs not in OUTPUTS:
            raise ConfigurationError(f"outputs is '{self.outputs}': expected one of {', '.join(OUTPUTS)}")


def export_model(bundle: ModelBundle, options: ExportOptions = ExportOptions()) -> Any:
    """The onnx.ModelProto of a bundle, opset 17, in FP32. Node names are the paths of the network's modules.

    Raises ConfigurationError for an input size that is no multiple of 32.
    """
    card = replace(bundle.card, input_size=options.input_size or bundle.card.input_size)
    network = CameraNetwork(fold(bundle.network), card.normalization, labels=options.outputs == "labels").eval()
    shape = (options.batch, *card.input_size)
    images = (torch.zeros(*shape, 3, dtype=torch.uint8), torch.zeros(*shape, 2, dtype=torch.uint8))
    names = list(LABEL_OUTPUTS) if options.outputs == "labels" else [LOGITS_OUTPUT]
    model = simplify(_trace(network, images, names))
    model.ir_version, model.producer_name, model.producer_version = IR_VERSION, "asymformer_ros", __version__
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "package_version": __version__,
        "precision": "fp32",
        "model_sha256": bundle.sha256,
        "card": json.dumps(card.to_json(), sort_keys=True),
    }
    onnx.helper.set_model_props(model, metadata)
    return model


def _trace(network: CameraNetwork, images: tuple[Tensor, Tensor], names: list[str]) -> Any:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # each shape that the trace makes constant, as it is meant to
        file = str(Path(folder) / "traced.onnx")
        trace(network, images, file, input_names=list(CAMERA_INPUTS), output_names=names, opset_version=OPSET)
        return onnx.load(file)


def write_model(model: Any, path: Path) -> None:
    """Check a ModelProto and write it to `path`, whole or not at all. Raises CheckpointError where it cannot."""
    onnx.checker.check_model(model, full_check=True)
    try:
        write_atomically(path, model.SerializeToString(deterministic=True))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error


class CameraNetwork(nn.Module):
    """The network between camera images and labels: rgb (N, H, W, 3) uint8 and depth (N, H, W, 2) uint8 go in."""

    def __init__(self, network: AsymFormer, normalization: Normalization, *, labels: bool) -> None:
        super().__init__()
        self.preprocess = Preprocess(normalization)
        self.network = network
        self.classify = Classify() if labels else nn.Identity()

    def forward(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        return self.classify(self.network(*self.preprocess(rgb, depth)))


class Preprocess(nn.Module):
    """Depth bytes to metres, and normalisation. In FP32 whatever follows: half cannot hold millimetres."""

    def __init__(self, norm: Normalization) -> None:
        super().__init__()
        self.rgb_mean = nn.Buffer(torch.tensor(norm.rgb_mean).view(3, 1, 1) * 255, persistent=False)
        self.rgb_scale = nn.Buffer(1 / (torch.tensor(norm.rgb_std).view(3, 1, 1) * 255), persistent=False)
        self.depth_mean, self.depth_scale = norm.depth_mean, 1 / norm.depth_std

    def forward(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised (N, 3, H, W) and (N, 1, H, W) float32."""
        colour = (rgb.float().permute(0, 3, 1, 2) - self.rgb_mean) * self.rgb_scale
        low, high = depth.float().permute(0, 3, 1, 2).split(1, dim=1)
        metres = (low + high * 256) * 0.001
        return colour, (metres - self.depth_mean) * self.depth_scale


class Classify(nn.Module):
    """Labels and confidence (N, H, W) uint8 of logits (N, C, H, W). TensorRT casts only floats to uint8."""

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        labels = logits.argmax(dim=1).float().to(torch.uint8)
        share = 1 / (logits - logits.amax(dim=1, keepdim=True)).exp().sum(dim=1)
        return labels, (share * 255).round().to(torch.uint8)
