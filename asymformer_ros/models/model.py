"""A model that is opened once: whatever serves, builds, analyses or exports one takes a `Model`, never a path."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.depth import Depth
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.signature import Signature, camera_feeds

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

    def feeds(self, rgb: NDArray[np.uint8], depth: Depth) -> dict[str, NDArray[Any]]:
        """The inputs of the graph for one frame of the card's input size."""
        return camera_feeds(rgb, depth)

    @cached_property
    def graph(self) -> ModelProto:
        """The plain FP32 graph, as `simplify` makes it; not to be changed. Made once; PyTorch is imported only then."""
        if self.bundle is None:
            from asymformer_ros.onnx_graph.simplify import simplify

            return simplify(self.proto)
        from asymformer_ros.models.export import ExportOptions, export_model

        return export_model(self.bundle, ExportOptions(batch=self.batch))
