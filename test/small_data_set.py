"""A small PNG data set of frames without meaning, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asymformer_ros.datasets.png import PngWriter
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.models.labels import LabelSet, label_set

SIZE = (36, 48)
NYUV2 = label_set("nyuv2_40")


def images_of(number: int, classes: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rgb, depth in millimetres with holes, and labels with void, in patches."""
    rng = np.random.default_rng(number)
    labels = rng.integers(-1, classes, (6, 8)).astype(np.uint8).repeat(6, 0).repeat(6, 1)
    depth = rng.integers(500, 5000, SIZE).astype(np.uint16)
    depth[rng.random(SIZE) < 0.2] = 0
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), depth, labels


def write_small_set(folder: Path, classes: LabelSet = NYUV2, frames: int = 4) -> Path:
    """The first frame is for training, the others for testing."""
    with PngWriter(folder, Intrinsics.typical(SIZE[1], SIZE[0]), classes) as writer:
        for number in range(frames):
            image = RawRgbd(*images_of(number, len(classes)))
            writer.add(f"{number:04d}", image, np.eye(4), "test" if number else "train")
    return folder
