"""Placing furniture and clutter in a room, where there is space for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.clutter import bin_or_vase, book_pile, carton, lamp, pillow, plant
from asymformer_ros.simulation.floor_plan import Spot
from asymformer_ros.simulation.furniture import Piece, block
from asymformer_ros.simulation.materials import fabric
from asymformer_ros.simulation.meshes import Vector
from asymformer_ros.simulation.site import Rng, Site

Maker = Callable[[Rng], Piece]


def place(site: Site, piece: Piece, *, front: float = 0.0) -> Spot | None:
    """Put a piece at a wall, `front` metres of floor kept before it; None where there is no room."""
    spot = site.plan.at_wall(site.rng, piece.width, piece.depth + front, piece.height)
    if spot is not None:
        site.add_at(spot, piece.parts)
        site.sights.append((*spot.wall.point(spot.along, piece.depth / 2), piece.height * 0.6))
    return spot


def place_some(site: Site, makers: Sequence[Maker], most: int) -> None:
    """One to `most` pieces at walls, each with small things on top."""
    for _ in range(int(site.rng.integers(1, most + 1))):
        piece = site.choose(makers[int(site.rng.integers(len(makers)))](site.rng))
        put_on(site, place(site, piece), piece)


def put_on(site: Site, spot: Spot | None, piece: Piece, *, chance: float = 0.6) -> None:
    """Small things on a piece that stands at a wall."""
    if spot is None or piece.top is None or piece.top > 1.3:
        return
    for along in np.arange(-piece.width / 2 + 0.2, piece.width / 2 - 0.15, 0.4):
        if site.rng.random() < chance:
            small_thing(site, (*spot.wall.point(spot.along + along, piece.depth / 2), piece.top))


def small_thing(site: Site, at: Vector) -> None:
    rng, kind = site.rng, site.rng.random()
    if kind < 0.4:
        site.parts += book_pile(rng, at)
    elif kind < 0.55:
        site.parts += carton(rng, at, 0.3)
    elif kind < 0.75:
        site.parts += lamp(rng, at, rng.uniform(0.4, 0.6), lit=site.lamps_lit)
    elif kind < 0.9:
        site.parts += plant(rng, at, rng.uniform(0.3, 0.5))
    else:
        site.parts += bin_or_vase(rng, at)


def stand_clutter(site: Site, most: int) -> None:
    """Boxes, plants, bins and floor lamps, where the floor is free."""
    rng = site.rng
    for _ in range(int(rng.integers(1, most + 1))):
        spot = site.plan.at_wall(rng, 0.45, 0.45, 1.0)
        if spot is None:
            continue
        at = (*spot.wall.point(spot.along, 0.24), 0.0)
        kind = rng.random()
        if kind < 0.35:
            site.parts += carton(rng, at, 0.45)
        elif kind < 0.6:
            site.parts += plant(rng, at, rng.uniform(0.6, 1.3))
        elif kind < 0.75:
            site.parts += bin_or_vase(rng, at)
        else:
            site.parts += lamp(rng, at, rng.uniform(1.3, 1.7), lit=site.lamps_lit)
        site.sights.append((at[0], at[1], 0.4))


def set_table(site: Site, piece: Piece, yaw: float, where: tuple[float, float]) -> None:
    """Small things on a table that stands free; `where` is the middle of its back."""
    c, s = math.cos(yaw), math.sin(yaw)
    for along in (-piece.width * 0.25, piece.width * 0.25):
        if site.rng.random() < 0.55:
            at = where[0] + along * c - piece.depth / 2 * s, where[1] + along * s + piece.depth / 2 * c
            small_thing(site, (*at, piece.top or 0.0))


def lay_mat(site: Site, largest: float = 2.2) -> None:
    """A mat somewhere on the floor, under what stands there; sometimes a pillow lies on it."""
    rng = site.rng
    size = (rng.uniform(0.5, 1) * largest, rng.uniform(0.35, 0.7) * largest, 0.02)
    x, y = rng.uniform(0.3, 0.6) * site.plan.width, rng.uniform(0.3, 0.6) * site.plan.depth
    site.parts.append(block(nyu.FLOOR_MAT, fabric(rng), size, (x, y, 0)).placed(0.0, (0, 0, 0)))
    if rng.random() < 0.3:
        site.parts.append(pillow(rng, (x, y, 0.02)))
