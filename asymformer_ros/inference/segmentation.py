"""What segmentation answers for one frame."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import AsymformerError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import encode_png
from asymformer_ros.frames.overlay import blend, legend_strip
from asymformer_ros.frames.summary import ClassStatistics, class_statistics
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.system.files import write_atomically

_LEGEND_WIDTH = 640  # pixels of an image under which the legend has scale 1, smaller ones too


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds spent in each stage of one segmentation."""

    preprocess: float
    inference: float
    postprocess: float

    @property
    def total(self) -> float:
        return self.preprocess + self.inference + self.postprocess


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Class of each pixel of one frame, in the frame's own size.

    labels: (H, W) uint8, class index 0..N-1, UNLABELLED (255) where there is none. confidence: (H, W) uint8, the
    softmax maximum scaled to 0..255, or None where nobody asked for it. frame: what was segmented. label_set: names and
    colours of the classes. times: how long each stage took.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    frame: RgbdFrame
    label_set: LabelSet
    times: StageTimes = StageTimes(0.0, 0.0, 0.0)

    @cached_property
    def classes(self) -> tuple[ClassStatistics, ...]:
        """The classes in view, largest first: name, share of the image, mean confidence, nearest distance, centroid."""
        return class_statistics(self.labels, self.confidence, self.frame.raw_depth, self.label_set.names)

    def overlay(self, alpha: float = 0.5, *, legend: bool = False) -> NDArray[np.uint8]:
        """Class colours over the camera's image, (H, W, 3) uint8 RGB; a legend adds rows below it.

        alpha: 0..1, weight of the colours. Unlabelled pixels show the camera.
        """
        blended = blend(self.frame.rgb, self.label_set.colorize(self.labels), self.labels, alpha)
        if not legend:
            return blended
        width = self.frame.size[1]
        entries = [(one.name, self.label_set.colors[one.label]) for one in self.classes]
        return np.vstack([blended, legend_strip(entries, width, max(1.0, width / _LEGEND_WIDTH))])

    def save(self, folder: str | PathLike[str]) -> None:
        """Write labels.png (8 bit, the class index), overlay.png with its legend and summary.json into a folder.

        The folder is made. Each file is whole or not there. Raises AsymformerError where they cannot be written.
        """
        files = {
            "labels.png": encode_png(self.labels),
            "overlay.png": encode_png(self.overlay(legend=True)),
            "summary.json": json.dumps(self.summary(), indent=2).encode() + b"\n",
        }
        try:
            for name, content in files.items():
                write_atomically(Path(folder) / name, content)
        except OSError as error:
            raise AsymformerError(f"cannot write to '{folder}': {error.strerror}") from error

    def summary(self) -> dict[str, object]:
        """Label set, size and classes in view, JSON-ready; null for what is not known."""
        classes = [
            {name: None if value != value else value for name, value in asdict(one).items()} for one in self.classes
        ]
        return {"label_set": self.label_set.name, "size": list(self.frame.size), "classes": classes}
