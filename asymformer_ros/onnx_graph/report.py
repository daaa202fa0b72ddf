"""Which layers of a model may run in FP16, and why the others may not; as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asymformer_ros import __version__
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.system.files import parse_json, write_atomically

FORMAT = "asymformer_precision"
VERSION = 1


@dataclass(frozen=True)
class Range:
    """What was seen of a tensor over all frames, or of a weight.

    max_abs, min_abs: largest and smallest magnitude; min_abs without zeros. underflow, overflow: shares, 0..1, of
    values that FP16 makes zero and that are beyond its largest. half_error: relative error (L2) of rounding to FP16.
    """

    max_abs: float
    min_abs: float
    underflow: float
    overflow: float
    half_error: float


@dataclass(frozen=True)
class Layer:
    """One node of the ONNX graph. values: of its outputs. reason: why it stays in FP32, "" where it may be FP16."""

    op: str
    values: Range
    reason: str = ""

    @property
    def precision(self) -> str:
        return "fp32" if self.reason else "fp16"


@dataclass(frozen=True)
class Weight:
    """One weight tensor. changed: share of its values that FP16 changes by more than 1e-3 of their own size;
    tiny: share below 1e-7, zeros not counted."""

    values: Range
    changed: float
    tiny: float


@dataclass(frozen=True)
class PrecisionReport:
    """What `asymformer precision` finds out.

    layers: by the name of the ONNX node. weights: by the name of the ONNX initializer. model: the model's hash.
    source: where the frames are from.
    """

    model: str
    source: str
    frames: int
    layers: Mapping[str, Layer]
    weights: Mapping[str, Weight]

    @property
    def fp32_layers(self) -> tuple[str, ...]:
        """Names of the ONNX nodes that must stay in FP32, in the order of the graph."""
        return tuple(name for name, layer in self.layers.items() if layer.reason)

    def check_model(self, sha256: str) -> None:
        """Raise ConfigurationError where the report is of another model than the one of this hash."""
        if self.model != sha256:
            raise ConfigurationError(
                f"the precision report is of model {self.model[:12]}, this one is {sha256[:12]}: "
                "make one of this model with `asymformer precision`"
            )

    def save(self, path: Path) -> None:
        """Write as JSON. Raises ConfigurationError where that fails."""
        try:
            write_atomically(path, json.dumps(self.to_json(), indent=1).encode())
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error

    def to_json(self) -> dict[str, object]:
        """JSON-ready dictionary, for `from_json`."""
        layers = {
            name: {"op": layer.op, **asdict(layer.values), "precision": layer.precision, "reason": layer.reason}
            for name, layer in self.layers.items()
        }
        weights = {
            name: {**asdict(weight.values), "changed": weight.changed, "tiny": weight.tiny}
            for name, weight in self.weights.items()
        }
        return {
            "format": FORMAT,
            "version": VERSION,
            "package_version": __version__,
            "model": self.model,
            "source": self.source,
            "frames": self.frames,
            "layers": layers,
            "weights": weights,
        }

    @staticmethod
    def load(path: Path) -> PrecisionReport:
        """Read a file. Raises ConfigurationError where it is none that this version reads."""
        try:
            data = parse_json(path.read_text(encoding="utf-8"))
            if (data["format"], data["version"]) != (FORMAT, VERSION):
                raise ValueError(f"it is {data['format']} version {data['version']}")
            return PrecisionReport.from_json(data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{path} is no precision report of version {VERSION} ({error}): "
                f"make it with `asymformer precision MODEL -o {path}`"
            ) from error

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> PrecisionReport:
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError."""
        layers = {name: Layer(e["op"], _range(e), str(e["reason"])) for name, e in data["layers"].items()}
        weights = {
            name: Weight(_range(e), float(e["changed"]), float(e["tiny"])) for name, e in data["weights"].items()
        }
        return PrecisionReport(str(data["model"]), str(data["source"]), int(data["frames"]), layers, weights)


def _range(entry: Mapping[str, Any]) -> Range:
    return Range(*(float(entry[key]) for key in ("max_abs", "min_abs", "underflow", "overflow", "half_error")))
