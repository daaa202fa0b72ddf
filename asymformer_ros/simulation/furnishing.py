"""Which furniture and clutter goes where, by the kind of room."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.clutter import bin_or_vase, book_pile, carton, lamp, pillow, plant
from asymformer_ros.simulation.floor_plan import Spot, Stretch
from asymformer_ros.simulation.furniture import (
    Piece,
    bathtub,
    bed,
    block,
    bookshelf,
    cabinet,
    chair,
    refrigerator,
    sink,
    sofa,
    table,
    television,
    toilet,
)
from asymformer_ros.simulation.materials import fabric
from asymformer_ros.simulation.meshes import Vector
from asymformer_ros.simulation.site import Rng, Site

Maker = Callable[[Rng], Piece]


def furnish_living(site: Site) -> None:
    spot = _place(site, piece := sofa(site.rng))
    if spot is not None:
        _before_sofa(site, spot, piece)
    _place(site, sofa(site.rng))
    _television_set(site)
    _place_some(site, (bookshelf, bookshelf, cabinet), 4)
    _dining_group(site, chance=0.5)
    _stand_clutter(site, 5)


def furnish_bedroom(site: Site) -> None:
    rng = site.rng
    spot = _place(site, piece := bed(rng))
    if spot is not None:
        for side in (-1, 1):
            _bedside(site, spot, side * (piece.width / 2 + 0.3))
    _place(site, cabinet(rng, height=rng.uniform(1.7, 2.1)))
    _place_some(site, (cabinet, bookshelf), 2)
    _work_place(site)
    if rng.random() < 0.4:
        _television_set(site)
    _mat(site)
    _stand_clutter(site, 4)


def furnish_kitchen(site: Site) -> None:
    rng = site.rng
    _place(site, refrigerator(rng))
    for number in range(int(rng.integers(2, 5))):
        piece = cabinet(rng, height=0.9)
        spot = _place(site, piece)
        if spot is None:
            continue
        if number == 0:
            _kitchen_sink(site, spot, piece)
        else:
            _put_on(site, spot, piece, chance=0.5)
        if rng.random() < 0.7:
            _wall_cabinet(site, spot, piece)
    _dining_group(site, chance=0.95)
    _place_some(site, (cabinet, bookshelf), 2)
    _stand_clutter(site, 4)


def furnish_bathroom(site: Site) -> None:
    rng = site.rng
    _place(site, bathtub(rng))
    _place(site, toilet(rng))
    _place(site, sink(rng))
    if rng.random() < 0.6:
        _put_on(site, _place(site, piece := cabinet(rng, width=rng.uniform(0.4, 0.7))), piece)
    _mat(site, largest=1.0)
    _stand_clutter(site, 3)


def furnish_study(site: Site) -> None:
    _work_place(site)
    _work_place(site)
    _place_some(site, (bookshelf, bookshelf, cabinet), 4)
    if site.rng.random() < 0.5:
        _place(site, sofa(site.rng))
    _mat(site)
    _stand_clutter(site, 5)


def _place(site: Site, piece: Piece, *, front: float = 0.0) -> Spot | None:
    """Put a piece at a wall, `front` metres of floor kept before it; None where there is no room."""
    spot = site.plan.at_wall(site.rng, piece.width, piece.depth + front, piece.height)
    if spot is not None:
        site.add_at(spot, piece.parts)
        site.sights.append((*spot.wall.point(spot.along, piece.depth / 2), piece.height * 0.6))
    return spot


def _place_some(site: Site, makers: Sequence[Maker], most: int) -> None:
    for _ in range(int(site.rng.integers(1, most + 1))):
        piece = makers[site.rng.integers(len(makers))](site.rng)
        _put_on(site, _place(site, piece), piece)


def _put_on(site: Site, spot: Spot | None, piece: Piece, *, chance: float = 0.6) -> None:
    """Small things on a piece that stands at a wall."""
    if spot is None or piece.top is None or piece.top > 1.3:
        return
    for along in np.arange(-piece.width / 2 + 0.2, piece.width / 2 - 0.15, 0.4):
        if site.rng.random() < chance:
            _small_thing(site, (*spot.wall.point(spot.along + along, piece.depth / 2), piece.top))


def _small_thing(site: Site, at: Vector) -> None:
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


def _stand_clutter(site: Site, most: int) -> None:
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


def _before_sofa(site: Site, spot: Spot, piece: Piece) -> None:
    """A mat and a low table."""
    rng, (x, y) = site.rng, spot.wall.point(spot.along, piece.depth + 0.75)
    if rng.random() < 0.8:
        mat = block(nyu.FLOOR_MAT, fabric(rng), (rng.uniform(1.6, 2.4), rng.uniform(1.1, 1.6), 0.02), (0, 0, 0))
        site.parts.append(mat.placed(spot.yaw, (x, y, 0)))
    low = table(rng, low=True)
    ahead = replace(spot.wall, x=spot.wall.point(0, piece.depth + 0.4)[0], y=spot.wall.point(0, piece.depth + 0.4)[1])
    area = ahead.footprint(spot.along, low.width, low.depth)
    if rng.random() < 0.85 and site.plan.is_free(area):
        where = ahead.point(spot.along)
        site.parts += low.placed(spot.yaw, (*where, 0))
        site.plan.taken.append(area)
        _set_table(site, low, spot.yaw, where)


def _set_table(site: Site, piece: Piece, yaw: float, where: tuple[float, float]) -> None:
    """Small things on a table that stands free; `where` is the middle of its back."""
    c, s = math.cos(yaw), math.sin(yaw)
    for along in (-piece.width * 0.25, piece.width * 0.25):
        if site.rng.random() < 0.55:
            at = where[0] + along * c - piece.depth / 2 * s, where[1] + along * s + piece.depth / 2 * c
            _small_thing(site, (*at, piece.top or 0.0))


def _dining_group(site: Site, chance: float) -> None:
    """A table in the free, with chairs around it."""
    rng = site.rng
    if rng.random() > chance:
        return
    piece = table(rng)
    place = site.plan.standing_free(rng, piece.width + 1.0, piece.depth + 1.0, 0.0)
    if place is None:
        return
    yaw = rng.normal(0, 0.06)
    back = place[0] + piece.depth / 2 * math.sin(yaw), place[1] - piece.depth / 2 * math.cos(yaw)
    site.parts += piece.placed(yaw, (*back, 0))
    _set_table(site, piece, yaw, back)
    site.sights.append((*place, 0.6))
    seat, parts_seed = chair, int(rng.integers(1 << 31))
    for side in (0, math.pi):
        for along in (-piece.width * 0.25, piece.width * 0.25) if piece.width > 1.2 else (0.0,):
            if rng.random() < 0.8:
                one = seat(np.random.default_rng(parts_seed))  # all of one kind
                out = piece.depth / 2 + rng.uniform(-0.25, 0.15) + one.depth
                turn = yaw + side + rng.normal(0, 0.15)
                x = place[0] + along * math.cos(yaw) + out * math.sin(yaw + side)
                y = place[1] + along * math.sin(yaw) - out * math.cos(yaw + side)
                site.parts += one.placed(turn, (x, y, 0))


def _work_place(site: Site) -> None:
    """A table at the wall with its chair, a lamp, books."""
    rng = site.rng
    piece, seat = table(rng), chair(rng)
    spot = _place(site, piece, front=0.5)
    _put_on(site, spot, piece, chance=0.8)
    if spot is not None and rng.random() < 0.9:
        x, y = spot.wall.point(spot.along + rng.uniform(-0.2, 0.2), piece.depth + rng.uniform(0.2, 0.45))
        site.parts += seat.placed(spot.yaw + math.pi + rng.normal(0, 0.3), (x, y, 0))


def _television_set(site: Site) -> None:
    """A low cabinet with a television on it."""
    rng = site.rng
    piece = cabinet(rng, height=rng.uniform(0.4, 0.6), width=rng.uniform(1.0, 1.6))
    spot = _place(site, piece)
    if spot is not None:
        x, y = spot.wall.point(spot.along, piece.depth / 2)
        site.parts += [part.placed(spot.yaw, (x, y, piece.height)) for part in television(rng, on=rng.random() < 0.4)]
        site.sights.append((x, y, piece.height + 0.3))


def _bedside(site: Site, spot: Spot, aside: float) -> None:
    """A small cabinet beside the bed with a lamp or books on it."""
    piece = cabinet(site.rng, height=site.rng.uniform(0.4, 0.6), width=0.45)
    along = spot.along + aside
    area = spot.wall.footprint(along, piece.width, piece.depth)
    if site.plan.is_free(area) and 0.25 < along < spot.wall.length - 0.25:
        site.plan.taken.append(area)
        here = replace(spot, along=along, x=spot.wall.point(along, 0.01)[0], y=spot.wall.point(along, 0.01)[1])
        site.add_at(here, piece.parts)
        _small_thing(site, (*spot.wall.point(along, piece.depth / 2), piece.height))


def _kitchen_sink(site: Site, spot: Spot, piece: Piece) -> None:
    basin = sink(site.rng)
    top = tuple(part for part in basin.parts[:4])
    height = basin.height - 0.15
    shift = spot.wall.point(spot.along, 0.05)
    site.parts += [part.placed(spot.yaw, (*shift, piece.height + 0.05 - height)) for part in top]


def _wall_cabinet(site: Site, spot: Spot, piece: Piece) -> None:
    """At eye height above a kitchen's cabinet, unless a window is there."""
    stretch = Stretch(spot.wall, spot.along - piece.width / 2, spot.along + piece.width / 2, 1.4, 2.2)
    if site.plan.wall_is_free(stretch):
        site.plan.covered.append(stretch)
        above = cabinet(site.rng, height=0.7, width=piece.width)
        site.parts += above.placed(spot.yaw, (spot.x, spot.y, 1.45))


def _mat(site: Site, largest: float = 2.2) -> None:
    rng = site.rng
    size = (rng.uniform(0.5, 1) * largest, rng.uniform(0.35, 0.7) * largest, 0.02)
    x, y = rng.uniform(0.3, 0.6) * site.plan.width, rng.uniform(0.3, 0.6) * site.plan.depth
    site.parts.append(block(nyu.FLOOR_MAT, fabric(rng), size, (x, y, 0)).placed(0.0, (0, 0, 0)))
    if rng.random() < 0.3:
        site.parts.append(pillow(rng, (x, y, 0.02)))
