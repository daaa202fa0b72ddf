"""Labelled frames of simple shapes, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets import LabelledFrame
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.network import AsymFormerConfig

SHAPES = LabelSet("shapes", ("back", "ball", "box"), ((90, 90, 90), (230, 40, 40), (40, 60, 230)))
TINY = AsymFormerConfig(
    num_classes=3,
    rgb_widths=(16, 16, 32, 32),
    rgb_blocks=(1, 1, 1, 1),
    depth_widths=(8, 16, 16, 32),
    depth_blocks=(1, 1, 1, 1),
    depth_heads=(1, 1, 1, 1),
    decoder_width=32,
)


def shapes(
    seed: int, size: tuple[int, int] = (64, 96)
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint8]]:
    """rgb, depth in millimetres and labels 0..2 of a ball and a box before a wall."""
    rng = np.random.default_rng(seed)
    height, width = size
    labels = np.zeros(size, np.uint8)
    x, y = int(rng.integers(width // 8, width // 3)), int(rng.integers(height // 4, height * 3 // 4))
    cv2.circle(labels, (x, y), height // 5, 1, -1)
    x, y = int(rng.integers(width // 2, width * 3 // 4)), int(rng.integers(height // 8, height // 2))
    cv2.rectangle(labels, (x, y), (x + width // 5, y + height // 3), 2, -1)
    rgb = np.array(SHAPES.colors, np.uint8)[labels] + rng.integers(0, 20, (*size, 3), np.uint8)
    depth = np.array((3000, 1500, 1000), np.uint16)[labels]
    return rgb, depth, labels


class Shapes:
    """A data set of such frames, in memory."""

    label_set = SHAPES

    def __init__(self, count: int, name: str = "shapes") -> None:
        self._count, self.name, self.fingerprint = count, name, "shapes"

    @property
    def frame_names(self) -> list[str]:
        return [str(index) for index in range(self._count)]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> LabelledFrame:
        rgb, depth, labels = shapes(index)
        return LabelledFrame(RgbdFrame(rgb, depth.astype(np.float32) / 1000), labels)


def write_shapes(folder: Path, train: int, test: int) -> Path:
    """Such frames in the PNG layout, with their label set."""
    import json

    for name in ("images", "depths", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(train + test):
        rgb, depth, labels = shapes(index)
        cv2.imwrite(str(folder / f"images/{index}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / f"depths/{index}.png"), depth)
        cv2.imwrite(str(folder / f"labels/{index}.png"), labels + 1)
    (folder / "train.txt").write_text("".join(f"{index}\n" for index in range(train)))
    (folder / "test.txt").write_text("".join(f"{index}\n" for index in range(train, train + test)))
    (folder / "label_set.json").write_text(json.dumps(SHAPES.to_json()))
    return folder
