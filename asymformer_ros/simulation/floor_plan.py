"""Where things can stand: the shape of a room, its walls, and the floor that is still free."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator

_TRIES = 30


@dataclass(frozen=True)
class Rectangle:
    """On the floor, metres."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Rectangle) -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def grown(self, by: float) -> Rectangle:
        return Rectangle(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)


@dataclass(frozen=True)
class Wall:
    """A straight wall seen from inside: it starts at (x, y), and goes `length` metres along its own x axis; `yaw` turns
    that axis and the inward y axis from the world's."""

    x: float
    y: float
    yaw: float
    length: float

    def point(self, along: float, inward: float = 0.0) -> tuple[float, float]:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + along * c - inward * s, self.y + along * s + inward * c

    def footprint(self, along: float, width: float, depth: float) -> Rectangle:
        """Of something at the wall whose middle is at `along`."""
        (xa, ya), (xb, yb) = self.point(along - width / 2), self.point(along + width / 2, depth)
        return Rectangle(min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))


@dataclass(frozen=True)
class Spot:
    """A place at a wall: position of the back's middle and the turn that looks into the room."""

    wall: Wall
    along: float
    x: float
    y: float

    @property
    def yaw(self) -> float:
        return self.wall.yaw


@dataclass(frozen=True)
class Stretch:
    """What a door, a window, a picture or a piece of furniture takes of a wall: along it, and between two heights."""

    wall: Wall
    start: float
    end: float
    bottom: float
    top: float

    def overlaps(self, other: Stretch) -> bool:
        return (
            self.wall == other.wall
            and self.start < other.end
            and other.start < self.end
            and self.bottom < other.top
            and other.bottom < self.top
        )


@dataclass
class FloorPlan:
    """An L-shaped or rectangular room, [0, width] x [0, depth], and what is taken of its floor and walls.

    niche: the part of the rectangle, in its upper right corner, that does not belong to the room; None for a rectangle.
    """

    width: float
    depth: float
    niche: Rectangle | None = None
    taken: list[Rectangle] = field(default_factory=list)
    covered: list[Stretch] = field(default_factory=list)

    def walls(self) -> Iterator[Wall]:
        """Counter-clockwise, so that inside is on the left of each."""
        if self.niche is None:
            right, back = self.depth, self.width
            notch: list[Wall] = []
        else:
            n = self.niche
            right, back = n.y0, n.x0
            notch = [Wall(n.x1, n.y0, math.pi, n.x1 - n.x0), Wall(n.x0, n.y0, math.pi / 2, n.y1 - n.y0)]
        yield Wall(0, 0, 0, self.width)
        yield Wall(self.width, 0, math.pi / 2, right)
        yield from notch
        yield Wall(back, self.depth, math.pi, back)
        yield Wall(0, self.depth, -math.pi / 2, self.depth)

    def is_free(self, area: Rectangle) -> bool:
        """Whether an area is inside the room and nothing stands there."""
        inside = area.x0 >= -1e-6 and area.y0 >= -1e-6 and area.x1 <= self.width + 1e-6 and area.y1 <= self.depth + 1e-6
        outside = self.niche is not None and area.overlaps(self.niche)
        return inside and not outside and not any(area.overlaps(other) for other in self.taken)

    def wall_is_free(self, stretch: Stretch) -> bool:
        return not any(stretch.overlaps(other) for other in self.covered)

    def at_wall(self, rng: Rng, width: float, depth: float, height: float) -> Spot | None:
        """Take a free place at a wall for furniture of this size; None where none was found."""
        walls = [wall for wall in self.walls() if wall.length > width + 0.1]
        for _ in range(_TRIES if walls else 0):
            wall = walls[rng.integers(len(walls))]
            along = rng.uniform(width / 2 + 0.02, wall.length - width / 2 - 0.02)
            area = wall.footprint(along, width, depth)
            stretch = Stretch(wall, along - width / 2, along + width / 2, 0.0, height)
            if self.is_free(area) and self.wall_is_free(stretch):
                self.taken.append(area.grown(0.03))
                self.covered.append(stretch)
                return Spot(wall, along, *wall.point(along, 0.01))
        return None

    def on_wall(self, rng: Rng, width: float, bottom: float, top: float) -> Spot | None:
        """Take a free stretch of wall between two heights; None where none was found."""
        walls = [wall for wall in self.walls() if wall.length > width + 0.3]
        for _ in range(_TRIES if walls else 0):
            wall = walls[rng.integers(len(walls))]
            along = rng.uniform(width / 2 + 0.15, wall.length - width / 2 - 0.15)
            stretch = Stretch(wall, along - width / 2 - 0.05, along + width / 2 + 0.05, bottom, top)
            if self.wall_is_free(stretch):
                self.covered.append(stretch)
                return Spot(wall, along, *wall.point(along))
        return None

    def standing_free(self, rng: Rng, width: float, depth: float) -> tuple[float, float] | None:
        """Take a free place away from the walls; its middle, or None."""
        for _ in range(_TRIES):
            x = rng.uniform(width / 2, max(width / 2, self.width - width / 2))
            y = rng.uniform(depth / 2, max(depth / 2, self.depth - depth / 2))
            area = Rectangle(x - width / 2, y - depth / 2, x + width / 2, y + depth / 2)
            if self.is_free(area):
                self.taken.append(area)
                return x, y
        return None

    def free_grid(self, cell: float, margin: float) -> NDArray[np.bool_]:
        """(rows, columns) of cells, row by y, whose middles are `margin` metres from everything."""
        columns, rows = int(self.width / cell), int(self.depth / cell)
        free = np.zeros((rows, columns), bool)
        for row in range(rows):
            for column in range(columns):
                x, y = (column + 0.5) * cell, (row + 0.5) * cell
                free[row, column] = self.is_free(Rectangle(x, y, x, y).grown(margin))
        return free
