"""Reads the engine inspector's JSON: which precision each layer really has."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

UNKNOWN = "unknown"
_PRECISIONS = (
    ("fp16", ("FP16", "HALF")),
    ("bf16", ("BF16", "BFLOAT16")),
    ("fp32", ("FP32", "FLOAT")),
    ("int8", ("INT8",)),
    ("int32", ("INT32",)),
    ("int64", ("INT64",)),
    ("uint8", ("UINT8",)),
    ("bool", ("BOOL",)),
)


@dataclass(frozen=True)
class LayerPrecision:
    """One layer of an engine. inputs, outputs: precisions of its tensors, lower case, "unknown" where not told."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def computes_in_fp32(self) -> bool:
        """Whether its first input and first output are FP32, as those of an FP32 convolution are."""
        return self.inputs[:1] == ("fp32",) and self.outputs[:1] == ("fp32",)

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, alone or with what is fused to it."""
        return "conv" in self.kind.lower() or "conv" in self.name.lower()


def read_layers(text: str) -> tuple[LayerPrecision, ...]:
    """Layers of the inspector's JSON for a whole engine.

    Where an engine was built without details the layers are bare names, and their precisions unknown. TensorRT puts
    control characters between the entries of a fused layer's metadata, which JSON itself forbids.
    Raises ValueError, which says what is wrong, where the text is no such JSON.
    """
    try:
        layers = json.loads(text, strict=False)["Layers"]
        return tuple(_layer(entry) for entry in layers)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the engine inspector's answer cannot be read ({error})") from error


def count_precisions(layers: tuple[LayerPrecision, ...]) -> dict[str, int]:
    """Number of layers by the precision of their first output."""
    return dict(Counter(layer.outputs[0] if layer.outputs else UNKNOWN for layer in layers))


def fp32_convolutions(layers: tuple[LayerPrecision, ...]) -> tuple[str, ...]:
    """Names of the convolutions that compute in FP32."""
    return tuple(layer.name for layer in layers if layer.convolves and layer.computes_in_fp32)


def _layer(entry: object) -> LayerPrecision:
    if isinstance(entry, str):
        return LayerPrecision(entry, UNKNOWN, (), ())
    if not isinstance(entry, dict):
        raise TypeError(f"a layer is {type(entry).__name__}")
    return LayerPrecision(
        name=str(entry["Name"]),
        kind=str(entry.get("ParameterType") or entry.get("LayerType") or UNKNOWN),
        inputs=tuple(_tensor_precision(tensor) for tensor in entry.get("Inputs", ())),
        outputs=tuple(_tensor_precision(tensor) for tensor in entry.get("Outputs", ())),
    )


def _tensor_precision(tensor: dict[str, object]) -> str:
    """Of "Format/Datatype", such as "Channel major FP16 format where channel % 8 == 0" or "Half"."""
    told = " ".join(str(value) for key, value in tensor.items() if "datatype" in key.lower() or "format" in key.lower())
    words = set(told.upper().replace("/", " ").replace(",", " ").split())
    return next((name for name, spellings in _PRECISIONS if words.intersection(spellings)), UNKNOWN)
