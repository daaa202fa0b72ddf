"""What a model is, beside its weights. Needs no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION, Normalization
from asymformer_ros.models.sizes import INPUT_SIZES, STRIDE, check_size, nearest_edge

IMAGENET_NORMALIZATION = replace(PUBLISHED_NORMALIZATION, rgb_mean=(0.485, 0.456, 0.406), rgb_std=(0.229, 0.224, 0.225))
"""Of the published multi-scale script: ImageNet's values for RGB."""


@dataclass(frozen=True)
class ModelCard:
    """Name, classes, normalisation, input size and origin of one set of weights.

    input_size: (height, width) in pixels, multiples of 32. input_sizes: others at which the network may serve, those
    of `sizes` where none is named. provenance: where the weights come from, for people.
    temperature: what class scores are divided by before the softmax, so that a confidence is the share of pixels that
    are right (Guo et al. 2017); labels do not depend on it. Raises ConfigurationError where a value makes no sense.
    """

    name: str
    label_set: LabelSet
    normalization: Normalization
    input_size: tuple[int, int] = INPUT_SIZES["full"]
    provenance: str = ""
    temperature: float = 1.0
    input_sizes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigurationError("a model needs a name")
        if not 0 < self.temperature < math.inf:
            raise ConfigurationError(f"a temperature is a number above 0, got {self.temperature}")
        for size in (self.input_size, *self.input_sizes):
            check_size(size)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) that the network may serve at, largest first: its own and those that the card names.

        Where it names none: its own height down to half of it in steps of 32, each width the multiple of 32 that is
        nearest to the same aspect ratio.
        """
        height, width = self.input_size
        heights = [edge for edge in range(STRIDE, height, STRIDE) if 2 * edge >= height]
        others = self.input_sizes or [(edge, nearest_edge(edge * width / height)) for edge in heights]
        return tuple(sorted({self.input_size, *others}, key=math.prod, reverse=True))

    def to_json(self) -> dict[str, object]:
        """JSON-ready dictionary, for `from_json`."""
        return {
            "name": self.name,
            "label_set": self.label_set.to_json(),
            "normalization": asdict(self.normalization),
            "input_size": list(self.input_size),
            "provenance": self.provenance,
            **({} if self.temperature == 1 else {"temperature": self.temperature}),  # older cards keep their hash
            **({"input_sizes": [list(size) for size in self.input_sizes]} if self.input_sizes else {}),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ModelCard:
        """Inverse of `to_json`. Raises ConfigurationError where something is missing or of another type."""
        try:
            height, width = data["input_size"]
            values = data["normalization"].items()
            normalization: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else float(v) for k, v in values}
            return ModelCard(
                name=str(data["name"]),
                label_set=LabelSet.from_json(data["label_set"]),
                normalization=Normalization(**normalization),
                input_size=(int(height), int(width)),
                provenance=str(data["provenance"]),
                temperature=float(data.get("temperature", 1.0)),
                input_sizes=tuple((int(height), int(width)) for height, width in data.get("input_sizes", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"no model card: {type(error).__name__} {error}") from error
