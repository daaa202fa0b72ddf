"""The room itself: walls, floor, ceiling, door, windows with curtains, pictures, and the light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.floor_plan import Spot
from asymformer_ros.simulation.furniture import block
from asymformer_ros.simulation.materials import (
    Material,
    fabric,
    floor_cover,
    metal,
    paint,
    painting,
    wall_cover,
    wood,
)
from asymformer_ros.simulation.meshes import Part, cloth
from asymformer_ros.simulation.scene import Light
from asymformer_ros.simulation.site import Site

_THICK = 0.1  # of walls, metres


def build_shell(site: Site) -> None:
    """Floor, ceiling and walls with skirting boards, closed so that no ray leaves the room."""
    rng, plan = site.rng, site.plan
    size, middle = (plan.width + 2 * _THICK, plan.depth + 2 * _THICK, _THICK), (plan.width / 2, plan.depth / 2)
    white = Material((0.8, 0.8, 0.78), (0.75, 0.75, 0.73), "plain", 1.5)
    ceiling = white if rng.random() < 0.8 else replace(wood(rng), pattern="planks", repeat=2.0)
    site.parts.append(block(nyu.FLOOR, floor_cover(rng), size, (*middle, -_THICK)))
    site.parts.append(block(nyu.CEILING, ceiling, size, (*middle, site.height)))
    cover, board = wall_cover(rng), paint(rng, white=True) if rng.random() < 0.6 else wood(rng)
    accent = wall_cover(rng) if rng.random() < 0.3 else cover
    for number, wall in enumerate(plan.walls()):
        material = cover if number else accent
        length = wall.length
        slab = block(nyu.WALL, material, (length + 2 * _THICK, _THICK, site.height), (length / 2, -_THICK / 2, 0))
        skirting = block(nyu.WALL, board, (length, 0.015, 0.08), (length / 2, 0.007, 0))
        site.parts += [part.placed(wall.yaw, (wall.x, wall.y, 0.0)) for part in (slab, skirting)]


def hang_door(site: Site) -> None:
    """One closed door with frame, panels and handle, and free floor before it."""
    rng = site.rng
    width, height = rng.uniform(0.8, 0.95), rng.uniform(1.98, 2.1)
    spot = site.plan.on_wall(rng, width + 0.15, 0.0, height)
    if spot is None:
        return
    leaf, frame = wood(rng), wood(rng)
    parts = [block(nyu.DOOR, leaf, (width, 0.04, height), (0, 0.01, 0))]
    for side in (-1, 1):
        parts.append(block(nyu.DOOR, frame, (0.08, 0.05, height + 0.08), (side * (width / 2 + 0.04), 0.02, 0)))
    parts.append(block(nyu.DOOR, frame, (width, 0.05, 0.08), (0, 0.02, height)))
    panels = int(rng.integers(0, 4))
    for number in range(panels):
        tall = (height - 0.3) / panels
        parts.append(block(nyu.DOOR, leaf, (width * 0.7, 0.03, tall - 0.12), (0, 0.025, 0.15 + number * tall)))
    parts.append(block(nyu.DOOR, metal(rng), (0.13, 0.06, 0.025), (width * 0.38, 0.06, 1.02)))
    site.add_at(spot, parts)
    site.plan.taken.append(spot.wall.footprint(spot.along, width, 0.8))
    site.sights.append((*spot.wall.point(spot.along), 1.0))


def put_window(site: Site, lowest_sill: float) -> None:
    """A window with frame and mullions, often curtains; by day it shines."""
    rng = site.rng
    width, sill = rng.uniform(0.8, 1.8), lowest_sill + rng.uniform(0, 0.2)
    tall = min(rng.uniform(0.9, 1.3), site.height - sill - 0.2)
    curtained = rng.random() < 0.6
    spot = site.plan.on_wall(rng, width + (0.6 if curtained else 0.1), 0.3 if curtained else sill, sill + tall)
    if spot is None:
        return
    parts = _window(site, width, sill, tall)
    if curtained:
        parts += _curtains(site, width, sill + tall + 0.1)
    site.add_at(spot, parts)
    site.sights.append((*spot.wall.point(spot.along), sill + tall / 2))
    if site.daylight:
        site.lights.append(_daylight(site, spot, width, sill, tall))


def _window(site: Site, width: float, sill: float, tall: float) -> list[Part]:
    rng = site.rng
    sky = (0.55, 0.75, 1.0) if site.daylight else (0.01, 0.012, 0.03)
    ground = (0.25, 0.4, 0.2) if site.daylight else (0.02, 0.02, 0.02)
    pane = Material(ground, sky, "view", 2 * tall, gloss=0.3, glow=rng.uniform(1.2, 2.2), clear=True)
    frame = paint(rng, white=True) if rng.random() < 0.7 else wood(rng)
    parts = [block(nyu.WINDOW, pane, (width, 0.01, tall), (0, 0.005, sill))]
    for x in np.linspace(-width / 2, width / 2, 2 + round(width / 0.8)):
        parts.append(block(nyu.WINDOW, frame, (0.06, 0.05, tall), (x, 0.025, sill)))
    for z in (sill - 0.03, sill + tall - 0.03):
        parts.append(block(nyu.WINDOW, frame, (width + 0.06, 0.07, 0.06), (0, 0.035, z)))
    return parts


def _curtains(site: Site, width: float, top: float) -> list[Part]:
    rng = site.rng
    material, bottom = fabric(rng), rng.uniform(0.05, 0.5)
    sides = (-1, 1) if rng.random() < 0.8 else (1,)
    parts = [block(nyu.CURTAIN, metal(rng), (width + 0.6, 0.03, 0.03), (0, 0.1, top))]
    for side in sides:
        span = rng.uniform(0.3, 0.45) if len(sides) == 2 else rng.uniform(0.4, 0.7)
        size = (span, rng.uniform(0.06, 0.1), top - bottom)
        parts.append(block(nyu.CURTAIN, material, size, (side * (width / 2 + 0.1), 0.1, bottom), cloth(5)))
    return parts


def _daylight(site: Site, spot: Spot, width: float, sill: float, tall: float) -> Light:
    foot, inside = np.array(spot.wall.point(spot.along)), np.array(spot.wall.point(spot.along, 1.0))
    across = (np.array(spot.wall.point(spot.along + 1.0)) - foot) * width / 2
    x, y = foot + 0.15 * (inside - foot)
    power = site.rng.uniform(1.5, 4.0) * width * tall
    facing = (*(inside - foot).tolist(), -0.2)
    color = (0.9 * power, power, 1.12 * power)
    return Light((float(x), float(y), sill + tall / 2), ((*across.tolist(), 0.0), (0.0, 0.0, tall / 2)), color, facing)


def hang_picture(site: Site) -> None:
    """A framed picture where the wall is free at eye height."""
    rng = site.rng
    width, tall = rng.uniform(0.35, 1.1), rng.uniform(0.35, 0.8)
    sill = rng.uniform(1.2, 1.45)
    spot = site.plan.on_wall(rng, width + 0.1, sill - 0.03, sill + tall)
    if spot is None:
        return
    frame = wood(rng) if rng.random() < 0.6 else metal(rng)
    inner = block(nyu.PICTURE, painting(rng), (width - 0.08, 0.012, tall - 0.08), (0, 0.03, sill + 0.04))
    site.add_at(spot, [block(nyu.PICTURE, frame, (width, 0.04, tall), (0, 0.015, sill)), inner])


def hang_ceiling_light(site: Site) -> None:
    """A lamp at the ceiling; by day it stands for the light that the room throws back."""
    rng, plan = site.rng, site.plan
    x, y = (plan.width / 2, plan.depth / 2) if plan.niche is None else (plan.niche.x0 / 2, plan.niche.y0 / 2)
    power = rng.uniform(1.0, 2.0) * (2.5 if site.lamps_lit else 0.5)
    warm = rng.uniform(0.6, 1.0)
    half = rng.uniform(0.15, 0.5)
    color = (power, power * (0.6 + 0.4 * warm), power * (0.2 + 0.8 * warm))
    site.lights.append(Light((x, y, site.height - 0.15), ((half, 0, 0), (0, half, 0)), color))
    if rng.random() < 0.7:
        shade = Material((0.9, 0.88, 0.8), (0.9, 0.88, 0.8), glow=1.5 if site.lamps_lit else 0.0)
        site.parts.append(block(nyu.LAMP, shade, (0.4, 0.4, 0.1), (x, y, site.height - 0.1)))
