"""What a pinhole camera sees of a scene: light, true depth and true classes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.simulation.materials import pattern_atlas
from asymformer_ros.simulation.scene import Hits, Light, Scene

_Floats = NDArray[np.float32]

_CLOSE = 1e-3  # metres; shadow rays start and end this far from the surfaces
_TILE = 4  # each light is sampled at 16 places by each 4x4 pixels, then averaged over them
_CORNER_REACH = 0.7  # metres within which other surfaces darken corners
_UP, _ASIDE = np.eye(3, dtype=np.float32)[[2, 0]]
_SHINE = 24.0  # exponent of highlights


@dataclass(frozen=True)
class Rendering:
    """What a camera without faults would see.

    radiance: (H, W, 3) float32 linear RGB. depth: (H, W) float32 metres along the optical axis. labels: (H, W) uint8.
    facing: (H, W) cosine between the surface's normal and the way to the camera. albedo: (H, W) share of light that
    the surface throws back. clear: (H, W) where glass is. points: (H, W, 3) in the world.
    """

    radiance: _Floats
    depth: _Floats
    labels: NDArray[np.uint8]
    facing: _Floats
    albedo: _Floats
    clear: NDArray[np.bool_]
    points: _Floats


def render(scene: Scene, pose: NDArray[np.float64], intrinsics: Intrinsics) -> Rendering:
    """See the scene from a (4, 4) camera-to-world pose in the optical frame (x right, y down, z forward; REP 103)."""
    rays = _rays(pose, intrinsics)
    origins = np.broadcast_to(pose[:3, 3].astype(np.float32), rays.shape).copy()
    hits = scene.cast(origins, rays)
    points = origins + rays * hits.distance[:, None]
    toward = -rays / np.linalg.norm(rays, axis=1, keepdims=True)
    color = _colors(scene, hits, points)
    shape = intrinsics.height, intrinsics.width
    raised = points + hits.normal * _CLOSE
    glow = scene.surfaces.glow[hits.part][:, None]
    light = _ambient(scene, raised, hits.normal, shape)
    shine = np.zeros_like(light)
    for lamp in scene.lights:
        diffuse, highlight = _lit(scene, lamp, (raised, hits.normal, toward), shape)
        light += diffuse
        shine += highlight
    radiance = color * (light + glow) + scene.surfaces.gloss[hits.part][:, None] * shine
    return Rendering(
        radiance.reshape(*shape, 3),
        hits.distance.reshape(shape),
        scene.surfaces.label[hits.part].reshape(shape),
        np.einsum("ij,ij->i", hits.normal, toward).reshape(shape),
        color.mean(axis=1).reshape(shape),
        scene.surfaces.clear[hits.part].reshape(shape),
        points.reshape(*shape, 3),
    )


def _rays(pose: NDArray[np.float64], intrinsics: Intrinsics) -> _Floats:
    """Direction of each pixel's ray (n, 3), 1 long along the optical axis, so that a ray's length is depth."""
    x = (np.arange(intrinsics.width, dtype=np.float32) - intrinsics.cx) / intrinsics.fx
    y = (np.arange(intrinsics.height, dtype=np.float32) - intrinsics.cy) / intrinsics.fy
    rotation = pose[:3, :3].astype(np.float32)
    rays = rotation[:, 0] * x[None, :, None] + rotation[:, 1] * y[:, None, None] + rotation[:, 2]
    return rays.reshape(-1, 3).astype(np.float32)


def _colors(scene: Scene, hits: Hits, points: _Floats) -> _Floats:
    """Surface colours (n, 3): the pattern is laid onto the plane that the surface faces most in its part's own axes."""
    s, part = scene.surfaces, hits.part
    frame = s.frame[part]
    local = np.einsum("ij,ijk->ik", points - s.center[part], frame)
    axis = np.abs(np.einsum("ij,ijk->ik", hits.normal, frame)).argmax(axis=1)
    across = np.where(axis == 0, local[:, 1], local[:, 0])
    up = np.where(axis == 2, local[:, 1], local[:, 2])
    atlas = pattern_atlas()
    size = atlas.shape[1]
    scale = size / s.repeat[part]
    column, row = (across * scale).astype(np.int64) % size, (up * scale).astype(np.int64) % size
    share = atlas[s.pattern[part], row, column][:, None]
    return s.color[part] * (1 - share) + s.second[part] * share


def _tiled(values: _Floats, shape: tuple[int, int]) -> _Floats:
    """(16, k) values, one for each pixel of a 4x4 tile, to (H * W, k)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] % _TILE
    return values[(rows * _TILE + columns).reshape(-1)]


def _averaged(seen: NDArray[np.bool_], shape: tuple[int, int]) -> _Floats:
    """The mean of (H * W) over each pixel's 4x4 neighbours, so over all samples of the tile."""
    image = seen.reshape(shape).astype(np.float32)
    return cv2.blur(image, (_TILE, _TILE)).reshape(-1)  # type: ignore[return-value]


_ORDER = np.array([0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5])  # neighbours in a tile sample far apart
_CELLS = np.stack([_ORDER % _TILE, _ORDER // _TILE], axis=1)
_SQUARE = ((_CELLS + 0.5) / _TILE * 2 - 1).astype(np.float32)  # (16, 2) in -1..1


def _lit(
    scene: Scene, lamp: Light, surface: tuple[_Floats, _Floats, _Floats], shape: tuple[int, int]
) -> tuple[_Floats, _Floats]:
    """Diffuse light (n, 3) and highlights (n, 3) of one lamp, with soft shadows."""
    points, normals, toward = surface
    way = np.array(lamp.center, np.float32) - points
    square = np.einsum("ij,ij->i", way, way)
    unit = way / np.sqrt(square)[:, None]
    cosine = np.maximum(np.einsum("ij,ij->i", normals, unit), 0)
    sampled = way + _tiled(_SQUARE @ np.array(lamp.half_edges, np.float32), shape)
    seen = _averaged(~scene.blocked(points, sampled, 1 - _CLOSE), shape)
    facing = np.array(lamp.facing, np.float32)
    spread = np.maximum(-unit @ facing, 0) if facing.any() else np.float32(1)
    strength = seen * spread / (square + 0.3)
    half = unit + toward
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    highlight = np.maximum(np.einsum("ij,ij->i", normals, half), 0) ** _SHINE
    power = np.array(lamp.power, np.float32)
    return (strength * cosine)[:, None] * power, (strength * highlight)[:, None] * power


def _ambient(scene: Scene, points: _Floats, normals: _Floats, shape: tuple[int, int]) -> _Floats:
    """Light from everywhere (n, 3), less in corners: one ray for each pixel, averaged over its tile."""
    radius = np.sqrt((_ORDER + 0.5) / _TILE**2)
    angle = np.arange(_TILE**2) * 2.399963  # the golden angle
    disc = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)], axis=1)
    local = _tiled(disc.astype(np.float32), shape)
    tangent = np.cross(normals, np.where(np.abs(normals[:, 2:]) < 0.9, _UP, _ASIDE))
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    way = local[:, :1] * tangent + local[:, 1:2] * np.cross(normals, tangent) + local[:, 2:] * normals
    seen = _averaged(~scene.blocked(points, way.astype(np.float32), _CORNER_REACH), shape)
    total = np.sum([lamp.power for lamp in scene.lights], axis=0, dtype=np.float32)
    level = (0.35 + 0.65 * seen) * (0.85 + 0.15 * normals[:, 2])
    return level[:, None] * total * np.float32(0.09)
