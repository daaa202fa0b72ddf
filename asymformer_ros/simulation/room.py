"""A furnished room of axis-aligned boxes, ray cast with numpy.

World: metres, z up, the floor at z = 0, the room's middle at x = y = 0.
Camera: the optical frame of REP 103 (x right, y down, z forward); a pose is its 4x4 camera-to-world matrix.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frame import RgbdFrame
from asymformer_ros.intrinsics import Intrinsics

_Floats = NDArray[np.float32]

# 0-based NYUv2-40 classes of what the room holds.
WALL, FLOOR, CABINET, BED, CHAIR, SOFA, TABLE, DOOR, WINDOW, BOOKSHELF, PICTURE = range(11)
PILLOW, FLOOR_MAT, CEILING, BOX, LAMP = 17, 19, 21, 28, 34

_ROOM = np.array([[-2.6, -2.2, 0.0], [2.6, 2.2, 2.5]], dtype=np.float32)
_LIGHT = np.array([0.3, -0.2, 2.3], dtype=np.float32)
_NEAR = 0.05  # metres; nearer surfaces are behind the camera's glass
_NOISE = 256  # texels of the noise that every surface shares, 64 to the metre


@dataclass(frozen=True)
class _Box:
    label: int
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    color: tuple[int, int, int]
    stripes: float = 0.0  # dark lines to the metre


_FURNITURE = (
    _Box(DOOR, (-2.6, -1.3, 0.0), (-2.55, -0.4, 2.05), (150, 110, 70), 2.2),
    _Box(WINDOW, (-0.9, 2.15, 0.9), (0.7, 2.2, 2.0), (190, 220, 245), 1.25),
    _Box(PICTURE, (2.56, -0.3, 1.2), (2.6, 0.6, 1.8), (60, 110, 130), 9.0),
    _Box(PICTURE, (-1.9, -2.2, 1.3), (-1.3, -2.16, 1.8), (160, 70, 60), 11.0),
    _Box(FLOOR_MAT, (-0.9, -0.8, 0.0), (0.9, 0.7, 0.015), (140, 60, 70), 6.0),
    _Box(BED, (1.1, -2.2, 0.0), (2.6, -0.3, 0.5), (205, 205, 225), 3.0),
    _Box(PILLOW, (1.3, -2.15, 0.5), (1.9, -1.8, 0.62), (240, 235, 220)),
    _Box(SOFA, (-2.5, 0.7, 0.0), (-1.7, 2.1, 0.42), (80, 100, 140)),
    _Box(SOFA, (-2.6, 0.7, 0.0), (-2.4, 2.1, 0.85), (75, 95, 135)),
    _Box(PILLOW, (-2.4, 1.7, 0.42), (-2.2, 2.05, 0.75), (220, 170, 60)),
    _Box(TABLE, (0.7, 0.9, 0.68), (1.9, 1.7, 0.74), (170, 125, 80), 8.0),
    _Box(TABLE, (0.75, 0.95, 0.0), (0.82, 1.02, 0.68), (140, 100, 60)),
    _Box(TABLE, (1.78, 0.95, 0.0), (1.85, 1.02, 0.68), (140, 100, 60)),
    _Box(TABLE, (0.75, 1.58, 0.0), (0.82, 1.65, 0.68), (140, 100, 60)),
    _Box(TABLE, (1.78, 1.58, 0.0), (1.85, 1.65, 0.68), (140, 100, 60)),
    _Box(CHAIR, (1.1, 0.45, 0.40), (1.5, 0.85, 0.46), (60, 120, 80)),
    _Box(CHAIR, (1.1, 0.45, 0.46), (1.5, 0.5, 0.95), (60, 120, 80), 7.0),
    _Box(CHAIR, (1.16, 0.5, 0.0), (1.22, 0.56, 0.40), (40, 80, 55)),
    _Box(CHAIR, (1.38, 0.5, 0.0), (1.44, 0.56, 0.40), (40, 80, 55)),
    _Box(LAMP, (1.2, 1.2, 0.74), (1.28, 1.28, 1.02), (90, 90, 90)),
    _Box(LAMP, (1.12, 1.12, 1.02), (1.36, 1.36, 1.2), (250, 230, 150)),
    _Box(BOOKSHELF, (-0.9, -2.2, 0.0), (0.3, -1.9, 1.9), (120, 80, 50), 14.0),
    _Box(CABINET, (0.35, -2.2, 0.0), (1.0, -1.75, 0.9), (200, 190, 170), 3.0),
    _Box(BOX, (0.5, -2.1, 0.9), (0.85, -1.85, 1.15), (190, 150, 100), 4.0),
    _Box(CABINET, (1.9, 1.75, 0.0), (2.6, 2.2, 2.0), (180, 160, 140), 2.5),
    _Box(BOX, (-1.55, -1.9, 0.0), (-1.1, -1.5, 0.35), (180, 140, 90), 5.0),
)
_INSIDE_COLORS = {WALL: (215, 205, 185), FLOOR: (150, 115, 80), CEILING: (235, 235, 230)}


def camera_pose(seconds: float) -> NDArray[np.float64]:
    """Where the camera is after some seconds of its endless walk: (4, 4) camera-to-world."""
    position = (0.8 * math.cos(0.23 * seconds), 0.5 * math.sin(0.31 * seconds), 1.45 + 0.1 * math.sin(0.5 * seconds))
    yaw = 0.3 * seconds + 0.4 * math.sin(0.4 * seconds)
    pitch = -0.32 + 0.12 * math.sin(0.37 * seconds)
    forward = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


class SimulatedRoom:
    """A room whose furniture's places, colours and surfaces follow from a seed."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._noise = _smooth_noise(rng)
        tint = rng.uniform(0.9, 1.1, size=(len(_FURNITURE), 3))
        inside = [_INSIDE_COLORS[label] for label in (WALL, FLOOR, CEILING)] * rng.uniform(0.92, 1.08, size=(1, 3))
        self._colors = np.concatenate([[box.color for box in _FURNITURE] * tint, inside]).astype(np.float32)
        self._labels = np.array([*(box.label for box in _FURNITURE), WALL, FLOOR, CEILING], dtype=np.uint8)
        self._stripes = np.array([*(box.stripes for box in _FURNITURE), 0.0, 7.0, 0.0], dtype=np.float32)

    def render(self, pose: NDArray[np.float64], intrinsics: Intrinsics) -> RgbdFrame:
        """See the room: depth is the distance along the optical axis, known for every pixel."""
        return self.render_labelled(pose, intrinsics)[0]

    def render_labelled(self, pose: NDArray[np.float64], intrinsics: Intrinsics) -> tuple[RgbdFrame, NDArray[np.uint8]]:
        """See the room and the true 0-based NYUv2-40 class of each pixel, (H, W) uint8."""
        origin = pose[:3, 3].astype(np.float32)[:, None, None]
        rays = _world_rays(pose, intrinsics)
        with np.errstate(divide="ignore"):
            inverse = np.reciprocal(rays)
        depth, surface, axis = _leave_room(origin, inverse)
        for index, box in enumerate(_FURNITURE):
            window = _image_window(box, pose, intrinsics)
            if window is not None:
                box_rays = origin, inverse[(slice(None), window[0], window[1])]
                _hit_box(box, index, box_rays, (depth[window], surface[window], axis[window]))
        rgb = self._shade(origin + rays * depth, rays, surface, axis)
        return RgbdFrame(rgb=rgb, depth=depth), self._labels[surface]

    def _shade(
        self, points: _Floats, rays: _Floats, surface: NDArray[np.uint8], axis: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Lambert under one lamp, times noise and stripes in the surface's own plane."""
        to_light = _LIGHT[:, None, None] - points
        distance = np.sqrt(np.einsum("i...,i...", to_light, to_light))
        light = 0.55 + 0.45 * np.maximum(-np.sign(_pick(rays, axis)) * _pick(to_light, axis) / distance, 0)
        across = np.where(axis == 0, points[1], points[0])
        up = np.where(axis == 2, points[1], points[2])
        texel = (across * 64).astype(np.int32) & (_NOISE - 1), (up * 64).astype(np.int32) & (_NOISE - 1)
        light *= self._noise[texel]
        stripes = self._stripes[surface]
        light *= np.where(np.modf(across * stripes + 100)[0] < np.minimum(0.12, stripes), np.float32(0.6), 1)
        return np.clip(self._colors[surface] * light[..., None], 0, 255).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator) -> _Floats:
    """Grain around 1 with detail at several sizes, (_NOISE, _NOISE)."""
    noise = np.ones((_NOISE, _NOISE), dtype=np.float32)
    for size, strength in ((1, 0.02), (4, 0.03), (32, 0.05)):
        coarse = rng.normal(0, strength, size=(_NOISE // size, _NOISE // size)).astype(np.float32)
        noise += cv2.resize(coarse, (_NOISE, _NOISE), interpolation=cv2.INTER_CUBIC)
    return noise


def _pick(vectors: _Floats, axis: NDArray[np.uint8]) -> _Floats:
    """The component of (3, H, W) vectors that (H, W) axis names."""
    return np.where(axis == 0, vectors[0], np.where(axis == 1, vectors[1], vectors[2]))


def _world_rays(pose: NDArray[np.float64], intrinsics: Intrinsics) -> _Floats:
    """Direction of each pixel's ray, (3, H, W), with 1 along the optical axis, so that a ray's length is depth."""
    rotation = pose[:3, :3].astype(np.float32)[:, :, None, None]
    x = (np.arange(intrinsics.width, dtype=np.float32) - intrinsics.cx) / intrinsics.fx
    y = (np.arange(intrinsics.height, dtype=np.float32) - intrinsics.cy) / intrinsics.fy
    return rotation[:, 0] * x + rotation[:, 1] * y[:, None] + rotation[:, 2]  # type: ignore[no-any-return]


def _leave_room(origin: _Floats, inverse: _Floats) -> tuple[_Floats, NDArray[np.uint8], NDArray[np.uint8]]:
    """Depth, surface index and wall axis where each ray meets the room's own inside."""
    low, high = _ROOM[:, :, None, None]
    leave = np.maximum((low - origin) * inverse, (high - origin) * inverse)
    axis = np.argmin(leave, axis=0).astype(np.uint8)
    level = np.where(inverse[2] < 0, 1, 2).astype(np.uint8)
    return leave.min(axis=0), len(_FURNITURE) + level * (axis == 2), axis


def _hit_box(
    box: _Box,
    index: int,
    rays: tuple[_Floats, _Floats],
    nearest: tuple[_Floats, NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    """Write the box into depth, surface and axis (views of the image) where it is the nearest so far."""
    (origin, inverse), (depth, surface, axis) = rays, nearest
    low, high = np.array([box.low, box.high], dtype=np.float32)[:, :, None, None]
    one, other = (low - origin) * inverse, (high - origin) * inverse
    entries = np.minimum(one, other)
    enter, leave = entries.max(axis=0), np.maximum(one, other).min(axis=0)
    hit = (enter < leave) & (enter > _NEAR) & (enter < depth)
    depth[hit], surface[hit] = enter[hit], index
    axis[hit] = np.argmax(entries[:, hit], axis=0)


def _image_window(box: _Box, pose: NDArray[np.float64], intrinsics: Intrinsics) -> tuple[slice, slice] | None:
    """Rows and columns that the box can touch; None where it is out of view."""
    corners = np.array(list(itertools.product(*zip(box.low, box.high, strict=True))))
    x, y, z = ((corners - pose[:3, 3]) @ pose[:3, :3]).T
    if z.max() < _NEAR:
        return None
    if z.min() < _NEAR:
        return slice(0, intrinsics.height), slice(0, intrinsics.width)
    columns = _span(x / z * intrinsics.fx + intrinsics.cx, intrinsics.width)
    rows = _span(y / z * intrinsics.fy + intrinsics.cy, intrinsics.height)
    return None if rows.start >= rows.stop or columns.start >= columns.stop else (rows, columns)


def _span(pixels: NDArray[np.float64], size: int) -> slice:
    return slice(max(0, math.floor(pixels.min())), max(0, min(size, math.ceil(pixels.max()) + 1)))
