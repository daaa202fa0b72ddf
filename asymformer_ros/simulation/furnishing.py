"""Which furniture and clutter goes where, by the kind of room."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from asymformer_ros.simulation import classes as nyu
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
from asymformer_ros.simulation.placing import (
    lay_mat,
    place,
    place_some,
    put_on,
    set_table,
    small_thing,
    stand_clutter,
)
from asymformer_ros.simulation.site import Site


def furnish_living(site: Site) -> None:
    spot = place(site, piece := site.choose(sofa(site.rng)))
    if spot is not None:
        _before_sofa(site, spot, piece)
    place(site, site.choose(sofa(site.rng)))
    _television_set(site)
    place_some(site, (bookshelf, bookshelf, cabinet), 4)
    _dining_group(site, chance=0.5)
    stand_clutter(site, 5)


def furnish_bedroom(site: Site) -> None:
    rng = site.rng
    spot = place(site, piece := site.choose(bed(rng)))
    if spot is not None:
        for side in (-1, 1):
            _bedside(site, spot, side * (piece.width / 2 + 0.3))
    place(site, site.choose(cabinet(rng, height=rng.uniform(1.7, 2.1))))
    place_some(site, (cabinet, bookshelf), 2)
    _work_place(site)
    if rng.random() < 0.4:
        _television_set(site)
    lay_mat(site)
    stand_clutter(site, 4)


def furnish_kitchen(site: Site) -> None:
    rng = site.rng
    place(site, site.choose(refrigerator(rng)))
    for number in range(int(rng.integers(2, 5))):
        piece = site.choose(cabinet(rng, height=0.9))
        spot = place(site, piece)
        if spot is None:
            continue
        if number == 0:
            _kitchen_sink(site, spot, piece)
        else:
            put_on(site, spot, piece, chance=0.5)
        if rng.random() < 0.7:
            _wall_cabinet(site, spot, piece)
    _dining_group(site, chance=0.95)
    place_some(site, (cabinet, bookshelf), 2)
    stand_clutter(site, 4)


def furnish_bathroom(site: Site) -> None:
    rng = site.rng
    place(site, site.choose(bathtub(rng)))
    place(site, site.choose(toilet(rng)))
    place(site, site.choose(sink(rng)))
    if rng.random() < 0.6:
        put_on(site, place(site, piece := site.choose(cabinet(rng, width=rng.uniform(0.4, 0.7)))), piece)
    lay_mat(site, largest=1.0)
    stand_clutter(site, 3)


def furnish_study(site: Site) -> None:
    _work_place(site)
    _work_place(site)
    place_some(site, (bookshelf, bookshelf, cabinet), 4)
    if site.rng.random() < 0.5:
        place(site, site.choose(sofa(site.rng)))
    lay_mat(site)
    stand_clutter(site, 5)


def _before_sofa(site: Site, spot: Spot, piece: Piece) -> None:
    """A mat and a low table."""
    rng, (x, y) = site.rng, spot.wall.point(spot.along, piece.depth + 0.75)
    if rng.random() < 0.8:
        mat = block(nyu.FLOOR_MAT, fabric(rng), (rng.uniform(1.6, 2.4), rng.uniform(1.1, 1.6), 0.02), (0, 0, 0))
        site.parts.append(mat.placed(spot.yaw, (x, y, 0)))
    low = site.choose(table(rng, low=True))
    front_x, front_y = spot.wall.point(0, piece.depth + 0.4)
    front = replace(spot.wall, x=front_x, y=front_y)
    area = front.footprint(spot.along, low.width, low.depth)
    if rng.random() < 0.85 and site.plan.is_free(area):
        where = front.point(spot.along)
        site.parts += low.placed(spot.yaw, (*where, 0))
        site.plan.taken.append(area)
        set_table(site, low, spot.yaw, where)


def _dining_group(site: Site, chance: float) -> None:
    """A table in the free, with chairs around it."""
    rng = site.rng
    if rng.random() > chance:
        return
    piece = site.choose(table(rng))
    middle = site.plan.standing_free(rng, piece.width + 1.0, piece.depth + 1.0)
    if middle is None:
        return
    yaw = rng.normal(0, 0.06)
    back = middle[0] + piece.depth / 2 * math.sin(yaw), middle[1] - piece.depth / 2 * math.cos(yaw)
    site.parts += piece.placed(yaw, (*back, 0))
    set_table(site, piece, yaw, back)
    site.sights.append((*middle, 0.6))
    seat = site.choose(chair(np.random.default_rng(int(rng.integers(1 << 31)))))  # all chairs are alike
    for side in (0, math.pi):
        for along in (-piece.width * 0.25, piece.width * 0.25) if piece.width > 1.2 else (0.0,):
            if rng.random() < 0.8:
                out = piece.depth / 2 + rng.uniform(-0.25, 0.15) + seat.depth
                turn = yaw + side + rng.normal(0, 0.15)
                x = middle[0] + along * math.cos(yaw) + out * math.sin(yaw + side)
                y = middle[1] + along * math.sin(yaw) - out * math.cos(yaw + side)
                site.parts += seat.placed(turn, (x, y, 0))


def _work_place(site: Site) -> None:
    """A table at the wall with its chair, a lamp, books."""
    rng = site.rng
    piece, seat = site.choose(table(rng)), site.choose(chair(rng))
    spot = place(site, piece, front=0.5)
    put_on(site, spot, piece, chance=0.8)
    if spot is not None and rng.random() < 0.9:
        x, y = spot.wall.point(spot.along + rng.uniform(-0.2, 0.2), piece.depth + rng.uniform(0.2, 0.45))
        site.parts += seat.placed(spot.yaw + math.pi + rng.normal(0, 0.3), (x, y, 0))


def _television_set(site: Site) -> None:
    """A low cabinet with a television on it."""
    rng = site.rng
    piece = cabinet(rng, height=rng.uniform(0.4, 0.6), width=rng.uniform(1.0, 1.6))
    spot = place(site, piece)
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
        site.add_at(Spot(spot.wall, along, *spot.wall.point(along, 0.01)), piece.parts)
        small_thing(site, (*spot.wall.point(along, piece.depth / 2), piece.height))


def _kitchen_sink(site: Site, spot: Spot, piece: Piece) -> None:
    """Basin and tap on a cabinet's top."""
    basin = sink(site.rng)
    height = basin.height - 0.15
    shift = spot.wall.point(spot.along, 0.05)
    site.parts += [part.placed(spot.yaw, (*shift, piece.height + 0.05 - height)) for part in basin.parts[:4]]


def _wall_cabinet(site: Site, spot: Spot, piece: Piece) -> None:
    """At eye height above a kitchen's cabinet, unless a window is there."""
    stretch = Stretch(spot.wall, spot.along - piece.width / 2, spot.along + piece.width / 2, 1.4, 2.2)
    if site.plan.wall_is_free(stretch):
        site.plan.covered.append(stretch)
        above = cabinet(site.rng, height=0.7, width=piece.width)
        site.parts += above.placed(spot.yaw, (spot.x, spot.y, 1.45))
