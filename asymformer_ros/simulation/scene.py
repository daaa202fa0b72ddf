"""A scene of parts that rays can be cast into, with Embree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.optional import importing
from asymformer_ros.simulation.materials import PATTERNS
from asymformer_ros.simulation.meshes import Part, Vector

with importing("embreex", "the simulated world"):
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Light:
    """A rectangle that shines: its middle, its half edges, and the power of red, green and blue.

    facing: the direction into which it shines most; (0, 0, 0) for all alike.
    """

    center: Vector
    half_edges: tuple[Vector, Vector]
    power: Vector
    facing: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Hits:
    """Where rays end. part: (n,) index into the scene's parts, -1 outside. distance: (n,) in lengths of the ray's
    direction. normal: (n, 3), towards where the ray came from."""

    part: NDArray[np.intp]
    distance: _Floats
    normal: _Floats


class Surfaces:
    """The materials of a scene's parts, an array for each property, by the part's index."""

    def __init__(self, parts: Sequence[Part]) -> None:
        materials = [part.material for part in parts]
        self.label = np.array([part.label for part in parts], np.uint8)
        self.frame = np.array([part.frame for part in parts], np.float32)
        self.center = np.array([part.center for part in parts], np.float32)
        self.color = np.array([material.color for material in materials], np.float32)
        self.second = np.array([material.second for material in materials], np.float32)
        self.pattern = np.array([PATTERNS.index(material.pattern) for material in materials])
        self.repeat = np.array([material.repeat for material in materials], np.float32)
        self.gloss = np.array([material.gloss for material in materials], np.float32)
        self.glow = np.array([material.glow for material in materials], np.float32)
        self.clear = np.array([material.clear for material in materials])


class Scene:
    """Parts and lights. Everything that a camera can see must be inside closed walls."""

    def __init__(self, parts: Sequence[Part], lights: Sequence[Light]) -> None:
        self.lights = tuple(lights)
        self.surfaces = Surfaces(parts)
        starts = np.cumsum([0, *(len(part.mesh.vertices) for part in parts)])
        faces = [part.mesh.faces + start for part, start in zip(parts, starts[:-1], strict=True)]
        self._faces = np.concatenate(faces).astype(np.int32)
        self._normals = np.concatenate([part.world_normals() for part in parts])
        self._part = np.repeat(np.arange(len(parts)), [len(part.mesh.faces) for part in parts])
        self._embree = EmbreeScene()
        TriangleMesh(self._embree, np.concatenate([part.world_vertices() for part in parts]), self._faces)

    def cast(self, origins: _Floats, directions: _Floats) -> Hits:
        """The first surface on each ray; origins and directions (n, 3)."""
        found = self._embree.run(origins, directions, query="INTERSECT", output=True)
        face, u, v = found["primID"], found["u"][:, None], found["v"][:, None]
        corner = self._normals[self._faces[face]]  # (n, 3 corners, 3)
        normal = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        away = np.einsum("ij,ij->i", normal, directions) > 0
        normal[away] *= -1
        return Hits(np.where(face < 0, -1, self._part[face]), found["tfar"], normal)

    def blocked(self, origins: _Floats, directions: _Floats, lengths: _Floats | float = 1.0) -> NDArray[np.bool_]:
        """Whether something is on each ray within `lengths` times its direction."""
        dists = np.broadcast_to(np.float32(lengths), len(origins)).astype(np.float32)
        return self._embree.run(origins, directions, dists, query="OCCLUDED") >= 0  # type: ignore[no-any-return]
