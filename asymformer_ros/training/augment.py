"""Augmentation of one frame: scale, crop, turn, flip, colours, and the faults of depth cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.training.colours import change_colours
from asymformer_ros.training.depth_faults import dither_depth, spoil_depth
from asymformer_ros.training.recipe import STRIDE, Recipe

VOID_RGB = tuple(round(255 * mean) for mean in PUBLISHED_NORMALIZATION.rgb_mean)
"""Colour beside a frame that is smaller than the crop: about 0 once it is normalised."""

_BORDER_STAYS = 0.25  # how often: what is evaluated may have it


@dataclass(frozen=True)
class Sample:
    """One frame for training: rgb (H, W, 3) uint8, depth (H, W) uint16 millimetres (0 unknown), labels (H, W) uint8."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    labels: NDArray[np.uint8]

    def part(self, top: int, left: int, size: tuple[int, int]) -> Sample:
        """(height, width) of the frame from a pixel on; no copy."""
        rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
        return Sample(self.rgb[rows, columns], self.depth[rows, columns], self.labels[rows, columns])

    def without_border(self, pixels: int) -> Sample:
        """The frame without that many pixels at each side; no copy."""
        height, width = self.labels.shape
        return self.part(pixels, pixels, (height - 2 * pixels, width - 2 * pixels))


class View(NamedTuple):
    """What is learnt from, and, where there is a teacher, what that sees: its depth is the camera's, its colours, too.

    shift: pixels, (down, right), that `sample` lies beside `taught`.
    """

    sample: Sample
    taught: Sample | None = None
    shift: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ViewSize:
    """Sizes in (height, width): `view`, what a view has, and `frame`, what the whole frame has at scale 1."""

    view: tuple[int, int]
    frame: tuple[int, int]


def augment(sample: Sample, size: ViewSize, recipe: Recipe, rng: np.random.Generator) -> View:
    """Another view of a frame, as the recipe says."""
    if recipe.border and rng.random() >= _BORDER_STAYS:
        sample = sample.without_border(recipe.border)
    margin = recipe.teacher.shift if recipe.teacher.weight else 0
    wide = ViewSize((size.view[0] + 2 * margin, size.view[1] + 2 * margin), size.frame)
    around = warp(sample, view_matrix(sample.labels.shape, wide, recipe, rng), wide.view)
    down, right = STRIDE * rng.integers(-(margin // STRIDE), margin // STRIDE + 1, 2) if margin else (0, 0)
    view = around.part(margin + down, margin + right, size.view)
    rgb = change_colours(np.ascontiguousarray(view.rgb), recipe.colour, rng)
    spoilt = Sample(rgb, spoil_depth(view.depth, rgb, recipe.depth, rng), view.labels)
    if not recipe.teacher.weight:
        return View(spoilt)
    taught = around.part(margin, margin, size.view)
    return View(spoilt, replace(taught, depth=dither_depth(taught.depth, recipe.depth, rng)), (int(down), int(right)))


def view_matrix(
    frame_size: tuple[int, int], size: ViewSize, recipe: Recipe, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(2, 3) matrix from a pixel (x, y) of a random view to the frame's.

    The frame is brought to `size.frame` times a random factor and turned; the view is a random part of that, or has
    all of it at a random place, and may be flipped.
    """
    least, greatest = np.log(recipe.scales)
    factor, squeeze = np.exp(rng.uniform(least, greatest)), np.exp(rng.uniform(-recipe.aspect, recipe.aspect) / 2)
    frame, whole, view = (np.array(pair[::-1], float) for pair in (frame_size, size.frame, size.view))  # as (x, y)
    turn = np.deg2rad(rng.normal(0, recipe.turn))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation * (frame / (whole * factor) * (squeeze, 1 / squeeze))
    if rng.random() < recipe.flip:
        matrix[:, 0] *= -1
    room = frame - np.abs(matrix) @ view  # below 0: the frame is smaller than the view
    centre = (frame - 1) / 2 + rng.uniform(-0.5, 0.5, 2) * np.abs(room)
    return np.column_stack((matrix, centre - matrix @ ((view - 1) / 2)))


def warp(sample: Sample, matrix: NDArray[np.float64], size: tuple[int, int]) -> Sample:
    """The view of (height, width) whose pixels `matrix` finds in the frame; void, unknown, VOID_RGB outside of it."""
    flags, to = cv2.WARP_INVERSE_MAP, (size[1], size[0])
    nearest = flags | cv2.INTER_NEAREST
    rgb = cv2.warpAffine(sample.rgb, matrix, to, flags=flags | cv2.INTER_LINEAR, borderValue=VOID_RGB)
    depth = cv2.warpAffine(sample.depth, matrix, to, flags=nearest, borderValue=0)
    labels = cv2.warpAffine(sample.labels, matrix, to, flags=nearest, borderValue=UNLABELLED)
    return Sample(rgb, depth, labels)  # type: ignore[arg-type]
