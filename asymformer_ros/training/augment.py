"""Augmentation of one frame: scale, crop, flip, colours, and the faults of depth cameras."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.training.recipe import Colour, DepthFaults, Recipe

VOID_RGB = tuple(round(255 * mean) for mean in PUBLISHED_NORMALIZATION.rgb_mean)
"""Colour beside a frame that is smaller than the crop: about 0 once it is normalised."""

_BLOB = 24  # pixels between the random values that holes are made of


@dataclass(frozen=True)
class Sample:
    """One frame for training: rgb (H, W, 3) uint8, depth (H, W) uint16 millimetres (0 unknown), labels (H, W) uint8."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    labels: NDArray[np.uint8]


def augment(sample: Sample, size: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> Sample:
    """Another view of a frame, of the network's (height, width), as the recipe says."""
    view = warp(sample, view_matrix(sample.labels.shape, size, recipe, rng), size)
    return Sample(change_colours(view.rgb, recipe.colour, rng), spoil_depth(view.depth, recipe.depth, rng), view.labels)


def view_matrix(
    frame_size: tuple[int, int], size: tuple[int, int], recipe: Recipe, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(2, 3) matrix from a pixel (x, y) of a random view to the frame's.

    The frame is brought to `size` times a random factor; the view is a random part of that, or has all of it at a
    random place, and may be flipped.
    """
    factor = rng.uniform(*recipe.scales)
    matrix = np.zeros((2, 3))
    for row, axis in ((0, 1), (1, 0)):
        room = size[axis] * (factor - 1)  # below 0: the frame is smaller than the view
        start = rng.uniform(min(0, room), max(0, room))
        step = frame_size[axis] / (size[axis] * factor)
        matrix[row, row], matrix[row, 2] = step, (start + 0.5) * step - 0.5
    if rng.random() < recipe.flip:
        matrix[0] = [-matrix[0, 0], 0, matrix[0, 2] + (size[1] - 1) * matrix[0, 0]]
    return matrix


def warp(sample: Sample, matrix: NDArray[np.float64], size: tuple[int, int]) -> Sample:
    """The view of (height, width) whose pixels `matrix` finds in the frame; void, unknown, VOID_RGB outside of it."""
    flags, to = cv2.WARP_INVERSE_MAP, (size[1], size[0])
    nearest = flags | cv2.INTER_NEAREST
    rgb = cv2.warpAffine(sample.rgb, matrix, to, flags=flags | cv2.INTER_LINEAR, borderValue=VOID_RGB)
    depth = cv2.warpAffine(sample.depth, matrix, to, flags=nearest, borderValue=0)
    labels = cv2.warpAffine(sample.labels, matrix, to, flags=nearest, borderValue=UNLABELLED)
    return Sample(rgb, depth, labels)  # type: ignore[arg-type]


def change_colours(rgb: NDArray[np.uint8], colour: Colour, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random brightness and contrast, then hue and saturation, of (H, W, 3) uint8 RGB."""
    brightness, contrast, saturation = (
        1 + rng.uniform(-v, v) for v in (colour.brightness, colour.contrast, colour.saturation)
    )
    grey = float(rgb.mean()) * brightness
    levels = np.arange(256)
    light = np.clip(levels * brightness * contrast + grey * (1 - contrast), 0, 255)
    hsv = cv2.cvtColor(cv2.LUT(rgb, light.astype(np.uint8)), cv2.COLOR_RGB2HSV)
    hue = (levels + round(rng.uniform(-colour.hue, colour.hue) * 180)) % 180
    table = np.stack((hue, np.minimum(levels * saturation, 255), levels), axis=-1).astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB)  # type: ignore[return-value]


def spoil_depth(depth: NDArray[np.uint16], faults: DepthFaults, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Depth (H, W) uint16 millimetres, 0 unknown, as a worse camera would see it."""
    if rng.random() < faults.drop:
        return np.zeros_like(depth)
    metres = depth * np.float32(0.001 * (1 + rng.uniform(-faults.scale, faults.scale)))
    if rng.random() < faults.noise:
        noise = rng.standard_normal(depth.shape, np.float32)
        metres *= 1 + np.float32(rng.uniform(0, faults.max_noise)) * noise
        step = np.float32(rng.uniform(0, faults.max_step) + 1e-6) * metres * metres + np.float32(1e-6)
        metres = np.rint(metres / step) * step
    if rng.random() < faults.holes:
        metres[_blobs(depth.shape, rng.uniform(0, faults.max_hole_share), rng)] = 0
    spoilt = np.clip(np.rint(metres * 1000), 0, 65535).astype(np.uint16)
    spoilt[depth == 0] = 0
    return spoilt


def _blobs(size: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Smooth random blobs that cover about `share` of (height, width)."""
    coarse = rng.standard_normal((size[0] // _BLOB + 2, size[1] // _BLOB + 2), np.float32)
    smooth = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return smooth < np.quantile(smooth[::4, ::4], share)
