"""A room in the making."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from asymformer_ros.simulation.catalog import Catalog
from asymformer_ros.simulation.floor_plan import FloorPlan, Rectangle, Spot
from asymformer_ros.simulation.furniture import Piece
from asymformer_ros.simulation.meshes import Part, Vector
from asymformer_ros.simulation.scene import Light

Rng = np.random.Generator


@dataclass
class Site:
    """Plan and ceiling height (metres) of a room, its parts and lights so far, and the middles of what is worth a look.

    daylight: the windows shine. lamps_lit: so do the lamps. catalog: models that can stand for our own furniture.
    """

    rng: Rng
    plan: FloorPlan
    height: float
    daylight: bool
    lamps_lit: bool
    parts: list[Part] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    sights: list[Vector] = field(default_factory=list)
    catalog: Catalog | None = None

    @staticmethod
    def of_size(rng: Rng, low: tuple[float, float], high: tuple[float, float]) -> Site:
        """An empty room, its width and depth between `low` and `high`; a large one is sometimes L-shaped."""
        width, depth = (float(value) for value in rng.uniform(low, high))
        niche = None
        if min(width, depth) > 3.2 and rng.random() < 0.4:
            niche = Rectangle(width * rng.uniform(0.55, 0.75), depth * rng.uniform(0.55, 0.75), width, depth)
        daylight = rng.random() < 0.7
        lamps_lit = not daylight or rng.random() < 0.3
        return Site(rng, FloorPlan(width, depth, niche), float(rng.uniform(2.3, 2.9)), daylight, lamps_lit)

    def choose(self, piece: Piece) -> Piece:
        """The piece, or a model of the catalogue in its place."""
        return piece if self.catalog is None else self.catalog.instead_of(piece, self.rng)

    def add_at(self, spot: Spot, parts: Iterable[Part]) -> None:
        """Add parts whose origin is the foot of the wall at `spot`, y to the inside."""
        self.parts += [part.placed(spot.yaw, (spot.x, spot.y, 0.0)) for part in parts]
