"""Triangle meshes and the parts that a scene is made of. World: metres, z up."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.optional import importing
from asymformer_ros.simulation.materials import Material

with importing("trimesh", "the simulated world"):
    import trimesh

Vector = tuple[float, float, float]

_ROUNDNESS = 0.35  # exponent of the superellipsoid: 1 is an ellipsoid, 0 a box
_SIDES = 20


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices and their normals (V, 3) float32, faces (F, 3) int32; primitives fill the cube -0.5..0.5."""

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh of one class and material: scaled by `size`, turned by `rotation` (3, 3), moved to `center`."""

    mesh: Mesh
    size: Vector
    center: Vector
    label: int
    material: Material
    rotation: NDArray[np.float64] | None = None

    def placed(self, yaw: float, shift: Vector) -> Part:
        """The part after a turn around the world's z axis and a shift."""
        turn = rotation_z(yaw)
        x, y, z = turn @ self.center + shift
        return replace(self, center=(x, y, z), rotation=turn if self.rotation is None else turn @ self.rotation)

    @property
    def frame(self) -> NDArray[np.float64]:
        """(3, 3), its axes in the world as columns."""
        return np.eye(3) if self.rotation is None else self.rotation

    def world_vertices(self) -> NDArray[np.float32]:
        return (self.mesh.vertices * self.size @ self.frame.T + self.center).astype(np.float32)

    def world_normals(self) -> NDArray[np.float32]:
        normals = self.mesh.normals / self.size @ self.frame.T
        return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def rotation_z(angle: float) -> NDArray[np.float64]:
    """Turn by radians, from x to y."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_x(angle: float) -> NDArray[np.float64]:
    """Turn by radians, from y to z."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


@cache
def box() -> Mesh:
    return _faceted(trimesh.creation.box((1, 1, 1)))


@cache
def cylinder() -> Mesh:
    """Upright, round."""
    return _round_sides(_faceted(trimesh.creation.cylinder(0.5, 1.0, sections=_SIDES)))


@cache
def frustum(top: float) -> Mesh:
    """A cylinder whose top is `top` times as wide, as of a lamp shade or a bucket."""
    mesh = trimesh.creation.cylinder(0.5, 1.0, sections=_SIDES)
    mesh.vertices[mesh.vertices[:, 2] > 0, :2] *= top
    return _round_sides(_faceted(mesh))


@cache
def ball() -> Mesh:
    return _smooth(trimesh.creation.icosphere(subdivisions=2, radius=0.5))


@cache
def cushion() -> Mesh:
    """A box with round edges and soft faces (a superellipsoid)."""
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=1.0)
    mesh.vertices = 0.5 * np.sign(mesh.vertices) * np.abs(mesh.vertices) ** _ROUNDNESS
    return _smooth(mesh)


@cache
def bowl() -> Mesh:
    """A rounded tub, open above."""
    turn, fall = np.meshgrid(np.linspace(0, 2 * np.pi, 2 * _SIDES + 1), np.linspace(0, np.pi / 2, 8))
    sphere = np.stack([np.cos(turn) * np.cos(fall), np.sin(turn) * np.cos(fall), -np.sin(fall)], axis=-1)
    rounded = np.sign(sphere) * np.abs(sphere) ** _ROUNDNESS
    return _smooth(_sheet(rounded * (0.5, 0.5, 1.0) + (0.0, 0.0, 0.5)))


@cache
def cloth(folds: int) -> Mesh:
    """A hanging cloth in the x-z plane with vertical folds."""
    x, z = np.meshgrid(np.linspace(-0.5, 0.5, 8 * folds + 1), (-0.5, 0.5))
    return _smooth(_sheet(np.stack([x, 0.5 * np.sin(2 * np.pi * folds * x), z], axis=-1)))


def _sheet(grid: NDArray[np.float64]) -> trimesh.Trimesh:
    """Two triangles between each four neighbours of a (rows, columns, 3) grid of points."""
    number = np.arange(grid.shape[0] * grid.shape[1]).reshape(grid.shape[:2])
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = np.concatenate([np.stack([a, b, c], axis=-1), np.stack([b, d, c], axis=-1)]).reshape(-1, 3)
    return trimesh.Trimesh(grid.reshape(-1, 3), faces, process=False)


def _faceted(mesh: trimesh.Trimesh) -> Mesh:
    corners = mesh.triangles.reshape(-1, 3).astype(np.float32)
    normals = mesh.face_normals.repeat(3, axis=0).astype(np.float32)
    return Mesh(corners, normals, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))


def _smooth(mesh: trimesh.Trimesh) -> Mesh:
    vertices, normals = mesh.vertices.astype(np.float32), mesh.vertex_normals.astype(np.float32)
    return Mesh(vertices, normals, mesh.faces.astype(np.int32))


def _round_sides(mesh: Mesh) -> Mesh:
    """Normals of a body of revolution: smooth around, flat on the caps."""
    side = np.abs(mesh.normals[:, 2]) < 0.9
    radial = mesh.vertices * (1, 1, 0)
    radial = radial / np.maximum(np.linalg.norm(radial, axis=1, keepdims=True), 1e-6)
    radial[:, 2] = mesh.normals[:, 2]
    return replace(mesh, normals=np.where(side[:, None], radial, mesh.normals).astype(np.float32))
