"""Small things that lie and stand about, at random."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.materials import Material, fabric, glowing, hue, metal, paint, wood
from asymformer_ros.simulation.meshes import (
    Part,
    Vector,
    ball,
    box,
    cushion,
    cylinder,
    frustum,
    rotation_x,
    rotation_z,
)

Rng = np.random.Generator


def pillow(rng: Rng, at: Vector, *, lean: float = 0.0, flat: bool = False) -> Part:
    """Lying (flat: a bed's) or leaning back by radians; `at` is where its lowest point's middle is."""
    size = (rng.uniform(0.5, 0.65), rng.uniform(0.35, 0.42), 0.14) if flat else (*rng.uniform(0.36, 0.48, 2), 0.15)
    turn = rotation_z(rng.uniform(-0.2, 0.2)) @ rotation_x(lean)
    lift = 0.5 * (size[1] * np.sin(lean) + size[2] * np.cos(lean))
    center = (at[0], at[1], at[2] + lift * 0.9)
    return Part(cushion(), (float(size[0]), float(size[1]), size[2]), center, nyu.PILLOW, fabric(rng), turn)


def _book_cover(rng: Rng) -> Material:
    color = hue(rng, (0.0, 0.8), (0.03, 0.75))
    return Material(color, hue(rng, (0, 0.8), (0.05, 0.9)), "plain", 0.3)


def book_row(rng: Rng, width: float, height: float, at: Vector) -> Iterable[Part]:
    """Upright books of a shelf, which fill most of `width`; `at` is the middle of their feet."""
    x, end = -width / 2, width / 2 * rng.uniform(0.3, 1.0)
    while x < end - 0.06:
        thick, tall, deep = rng.uniform(0.02, 0.06), height * rng.uniform(0.6, 0.95), rng.uniform(0.14, 0.2)
        center = (at[0] + x + thick / 2, at[1], at[2] + tall / 2)
        yield Part(box(), (thick * 0.95, deep, tall), center, nyu.BOOKS, _book_cover(rng))
        x += thick


def book_pile(rng: Rng, at: Vector) -> Iterable[Part]:
    """A few lying books; `at` is below their middle."""
    z = at[2]
    for _ in range(int(rng.integers(1, 5))):
        size = (rng.uniform(0.15, 0.25), rng.uniform(0.2, 0.32), rng.uniform(0.02, 0.05))
        turn = rotation_z(rng.uniform(-0.5, 0.5))
        yield Part(box(), size, (at[0], at[1], z + size[2] / 2), nyu.BOOKS, _book_cover(rng), turn)
        z += size[2]


def carton(rng: Rng, at: Vector, largest: float = 0.5) -> Iterable[Part]:
    """A cardboard or painted box with a strip of tape."""
    size = tuple(rng.uniform(0.4 * largest, largest, 3))
    brown = Material((0.36, 0.24, 0.13), (0.3, 0.2, 0.1), "wood", 0.6)
    material = brown if rng.random() < 0.7 else paint(rng)
    turn = rotation_z(rng.uniform(-0.6, 0.6))
    yield Part(box(), size, (at[0], at[1], at[2] + size[2] / 2), nyu.BOX, material, turn)
    tape = Material((0.55, 0.45, 0.3), (0.5, 0.4, 0.3), gloss=0.2)
    strip = (size[0] * 1.004, 0.05, size[2] * 1.004)
    yield Part(box(), strip, (at[0], at[1], at[2] + size[2] / 2), nyu.BOX, tape, turn)


def plant(rng: Rng, at: Vector, height: float) -> Iterable[Part]:
    """A pot with leaves."""
    pot = height * 0.35
    clay = Material((0.4, 0.18, 0.1), (0.35, 0.15, 0.08)) if rng.random() < 0.5 else paint(rng)
    yield Part(frustum(1.35), (pot * 0.7, pot * 0.7, pot), (at[0], at[1], at[2] + pot / 2), nyu.OTHERPROP, clay)
    green = Material((0.05, 0.2, 0.04), (0.1, 0.35, 0.08), "carpet", 0.3)
    for _ in range(int(rng.integers(5, 10))):
        x, y = rng.normal(0, height * 0.12, 2).tolist()
        z = rng.uniform(0.45, 0.9) * height
        size = (height * 0.12, height * 0.35, height * 0.25)
        turn = rotation_z(rng.uniform(0, 6.3)) @ rotation_x(rng.uniform(0.3, 1.3))
        yield Part(ball(), size, (at[0] + x, at[1] + y, at[2] + z), nyu.OTHERPROP, green, turn)


def bin_or_vase(rng: Rng, at: Vector) -> Iterable[Part]:
    """A waste bin or a vase."""
    width, height = rng.uniform(0.14, 0.3), rng.uniform(0.22, 0.4)
    material = metal(rng) if rng.random() < 0.5 else paint(rng)
    shape = frustum(1.25) if rng.random() < 0.6 else ball()
    yield Part(shape, (width, width, height), (at[0], at[1], at[2] + height / 2), nyu.OTHERPROP, material)


def lamp(rng: Rng, at: Vector, height: float, *, lit: bool) -> Iterable[Part]:
    """A shade on a pole, for a table or the floor, 0.4 to 1.7 m high."""
    shade, radius = rng.uniform(0.18, 0.26), min(0.2 + 0.12 * height, 0.38)
    pole = metal(rng) if rng.random() < 0.6 else wood(rng)
    yield Part(cylinder(), (radius * 0.8, radius * 0.8, 0.03), (at[0], at[1], at[2] + 0.015), nyu.LAMP, pole)
    stick = height - shade
    yield Part(cylinder(), (0.035, 0.035, stick), (at[0], at[1], at[2] + stick / 2), nyu.LAMP, pole)
    cloth = Material(hue(rng, (0.0, 0.4), (0.6, 0.9)), hue(rng, (0, 0.4), (0.5, 0.8)), "plain", 0.4)
    cover = glowing(cloth, 1.0 if lit else 0.0)
    yield Part(frustum(0.65), (radius, radius, shade), (at[0], at[1], at[2] + height - shade / 2), nyu.LAMP, cover)
