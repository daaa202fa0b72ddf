"""Furniture with sizes, styles and materials at random.

A piece stands on the floor with the middle of its back at the origin: x is its width, y goes to the front, z up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.clutter import book_row, pillow
from asymformer_ros.simulation.materials import Material, ceramic, fabric, metal, paint, wood
from asymformer_ros.simulation.meshes import Mesh, Part, Vector, bowl, box, cushion, cylinder

Rng = np.random.Generator


@dataclass(frozen=True)
class Piece:
    """Parts of one piece of furniture with the space that it needs, metres. top: height on which things can stand."""

    parts: tuple[Part, ...]
    width: float
    depth: float
    height: float
    top: float | None = None

    def placed(self, yaw: float, shift: Vector) -> list[Part]:
        return [part.placed(yaw, shift) for part in self.parts]


def block(label: int, material: Material, size: Vector, at: Vector, mesh: Mesh | None = None) -> Part:
    """A part whose bottom's middle is `at`; a box where no mesh is given."""
    return Part(mesh or box(), size, (at[0], at[1], at[2] + size[2] / 2), label, material)


def _legs(label: int, material: Material, size: Vector, thickness: float, mesh: Mesh | None = None) -> Iterable[Part]:
    """Four legs under a board of this width and depth, as high as size[2]."""
    x, y = size[0] / 2 - thickness, size[1] - thickness
    for at in ((-x, thickness), (x, thickness), (-x, y), (x, y)):
        yield block(label, material, (thickness, thickness, size[2]), (*at, 0.0), mesh)


def chair(rng: Rng) -> Piece:
    """Four legs, or an office chair's star."""
    width, depth, seat = rng.uniform(0.4, 0.52), rng.uniform(0.4, 0.52), rng.uniform(0.42, 0.5)
    frame = wood(rng) if rng.random() < 0.6 else metal(rng)
    cover = fabric(rng) if rng.random() < 0.6 else frame
    back = rng.uniform(0.38, 0.55)
    mesh = cushion() if rng.random() < 0.5 else box()
    parts = [block(nyu.CHAIR, cover, (width, depth, 0.06), (0, depth / 2, seat - 0.06), mesh)]
    if rng.random() < 0.3:
        parts += _star(width, depth, seat)
    else:
        parts += _legs(nyu.CHAIR, frame, (width, depth, seat - 0.05), 0.035, cylinder() if rng.random() < 0.5 else None)
    if rng.random() < 0.5:
        parts.append(block(nyu.CHAIR, cover, (width * 0.92, 0.05, back), (0, 0.03, seat), mesh))
    else:
        slats = int(rng.integers(3, 6))
        for x in np.linspace(-width * 0.45, width * 0.45, slats):
            parts.append(block(nyu.CHAIR, frame, (0.04, 0.03, back), (x, 0.03, seat)))
        parts.append(block(nyu.CHAIR, frame, (width * 0.95, 0.035, 0.09), (0, 0.03, seat + back - 0.05)))
    return Piece(tuple(parts), width, depth, seat + back)


def _star(width: float, depth: float, seat: float) -> Iterable[Part]:
    """Column, five feet and arm rests."""
    black = Material((0.03, 0.03, 0.03), (0.05, 0.05, 0.05), gloss=0.2)
    yield block(nyu.CHAIR, black, (0.07, 0.07, seat - 0.08), (0, depth / 2, 0.04), cylinder())
    foot = block(nyu.CHAIR, black, (0.3, 0.05, 0.05), (0.15, 0, 0.03))
    for turn in range(5):
        yield foot.placed(turn * 2 * math.pi / 5, (0, depth / 2, 0))
    for side in (-width / 2, width / 2):
        yield block(nyu.CHAIR, black, (0.05, 0.28, 0.04), (side, depth / 2, seat + 0.2))
        yield block(nyu.CHAIR, black, (0.04, 0.05, 0.22), (side, depth / 2, seat))


def sofa(rng: Rng) -> Piece:
    """One to three seats, with arm rests and pillows."""
    seats = int(rng.integers(1, 4))
    seat_width, arm, depth = rng.uniform(0.55, 0.72), rng.uniform(0.12, 0.24), rng.uniform(0.8, 0.95)
    width, seat, back = seats * seat_width + 2 * arm, rng.uniform(0.38, 0.46), rng.uniform(0.75, 0.95)
    cover, soft = fabric(rng), cushion() if rng.random() < 0.8 else box()
    parts = [block(nyu.SOFA, cover, (width - arm, depth, seat - 0.14), (0, depth / 2, 0.04))]
    parts.append(block(nyu.SOFA, cover, (width, 0.2, back), (0, 0.1, 0.04), soft))
    for side in (-1, 1):
        at = (side * (width - arm) / 2, depth / 2, 0.04)
        parts.append(block(nyu.SOFA, cover, (arm, depth, seat + rng.uniform(0.12, 0.2)), at, soft))
    for number in range(seats):
        x = (number - (seats - 1) / 2) * seat_width
        for size, at in (
            ((seat_width, depth - 0.2, 0.17), (x, depth / 2 + 0.1, seat - 0.13)),
            ((seat_width * 0.97, 0.2, back - seat + 0.02), (x, 0.24, seat - 0.02)),
        ):
            parts.append(block(nyu.SOFA, cover, size, at, cushion()))
        if rng.random() < 0.4:
            parts.append(pillow(rng, (x + rng.uniform(-0.1, 0.1), 0.42, seat), lean=1.1))
    return Piece(tuple(parts), width, depth, back)


def bed(rng: Rng) -> Piece:
    """Single or double, head board at the wall, with blanket and pillows."""
    double = rng.random() < 0.55
    width, depth, top = rng.uniform(1.4, 1.8) if double else rng.uniform(0.9, 1.1), rng.uniform(1.95, 2.1), 0.52
    frame, sheet, blanket = wood(rng), fabric(rng), fabric(rng)
    head = rng.uniform(0.75, 1.15)
    parts = [
        block(nyu.BED, frame, (width, depth, 0.2), (0, depth / 2, 0.08)),
        block(nyu.BED, frame, (width + 0.04, 0.05, head), (0, 0.025, 0)),
        block(nyu.BED, sheet, (width, depth - 0.06, 0.26), (0, depth / 2 + 0.03, 0.26), cushion()),
        block(nyu.BED, blanket, (width + 0.08, depth * 0.68, 0.24), (0, depth * 0.66, 0.31), cushion()),
    ]
    places = (-width / 4, width / 4) if double else (0.0,)
    parts += [pillow(rng, (x, 0.32, top - 0.04), flat=True) for x in places]
    return Piece(tuple(parts), width, depth, head)


def table(rng: Rng, *, low: bool = False) -> Piece:
    """A board on four legs, two sides or one foot; low: before a sofa."""
    height = rng.uniform(0.38, 0.48) if low else rng.uniform(0.7, 0.78)
    widths, depths = ((0.8, 1.2), (0.5, 0.7)) if low else ((0.9, 1.7), (0.6, 0.95))
    width, depth = rng.uniform(*widths), rng.uniform(*depths)
    top = wood(rng) if rng.random() < 0.8 else paint(rng, white=True)
    style = rng.random()
    thick = rng.uniform(0.025, 0.05)
    if style < 0.25:
        width = depth = min(width, 1.1)
        board = block(nyu.TABLE, top, (width, depth, thick), (0, depth / 2, height - thick), cylinder())
        foot = [block(nyu.TABLE, metal(rng), (0.09, 0.09, height), (0, depth / 2, 0), cylinder())]
        foot.append(block(nyu.TABLE, top, (width / 2, depth / 2, 0.03), (0, depth / 2, 0), cylinder()))
        return Piece((board, *foot), width, depth, height, height)
    board = block(nyu.TABLE, top, (width, depth, thick), (0, depth / 2, height - thick))
    if style < 0.4:
        sides = [block(nyu.TABLE, top, (0.04, depth * 0.9, height), (s * width * 0.45, depth / 2, 0)) for s in (-1, 1)]
        return Piece((board, *sides), width, depth, height, height)
    legs = top if rng.random() < 0.6 else metal(rng)
    return Piece((board, *_legs(nyu.TABLE, legs, (width, depth, height), 0.06)), width, depth, height, height)


def cabinet(rng: Rng, *, height: float | None = None, width: float | None = None) -> Piece:
    """A closed body with doors or drawers and handles."""
    width = width or rng.uniform(0.5, 1.5)
    height = height or (rng.uniform(0.5, 1.0) if rng.random() < 0.6 else rng.uniform(1.6, 2.1))
    depth = rng.uniform(0.4, 0.6)
    body, handle = wood(rng), metal(rng)
    parts = [block(nyu.CABINET, body, (width, depth, height - 0.06), (0, depth / 2, 0.06))]
    columns = max(1, round(width / rng.uniform(0.4, 0.6)))
    rows = max(1, round(height / rng.uniform(0.2, 0.3))) if height < 1.2 and rng.random() < 0.5 else 1
    cell_w, cell_h = width / columns, (height - 0.08) / rows
    for column in range(columns):
        for row in range(rows):
            x, z = (column - (columns - 1) / 2) * cell_w, 0.07 + row * cell_h
            parts.append(block(nyu.CABINET, body, (cell_w - 0.015, 0.02, cell_h - 0.015), (x, depth + 0.01, z)))
            size, shift = ((0.02, 0.03, 0.14), cell_w * 0.38) if rows == 1 else ((0.14, 0.03, 0.02), 0.0)
            parts.append(block(nyu.CABINET, handle, size, (x + shift, depth + 0.035, z + cell_h * 0.5)))
    return Piece(tuple(parts), width, depth + 0.05, height, height)


def bookshelf(rng: Rng) -> Piece:
    """Open boards with rows of books."""
    width, height, depth = rng.uniform(0.6, 1.3), rng.uniform(1.2, 2.1), rng.uniform(0.26, 0.34)
    frame = wood(rng)
    levels = round(height / rng.uniform(0.32, 0.4))
    gap = (height - 0.03) / levels
    parts = [block(nyu.BOOKSHELF, frame, (width, 0.015, height), (0, 0.008, 0))]
    parts += [block(nyu.BOOKSHELF, frame, (0.03, depth, height), (s * width / 2, depth / 2, 0)) for s in (-1, 1)]
    for level in range(levels + 1):
        parts.append(block(nyu.BOOKSHELF, frame, (width, depth, 0.025), (0, depth / 2, level * gap)))
    for level in range(levels):
        if rng.random() < 0.85:
            parts += book_row(rng, width - 0.06, gap - 0.03, (0, depth * 0.55, level * gap + 0.025))
    return Piece(tuple(parts), width + 0.03, depth, height)


def refrigerator(rng: Rng) -> Piece:
    """Tall, with a seam between two doors and long handles."""
    width, depth, height = rng.uniform(0.58, 0.8), rng.uniform(0.6, 0.7), rng.uniform(1.5, 1.95)
    body = metal(rng) if rng.random() < 0.6 else ceramic(rng)
    seam = height * rng.uniform(0.3, 0.7)
    dark = Material((0.04,) * 3, (0.04,) * 3)
    parts = [block(nyu.REFRIGERATOR, dark, (width - 0.02, depth - 0.06, height - 0.01), (0, depth / 2 - 0.03, 0))]
    for low, high in ((0.05, seam - 0.01), (seam + 0.01, height)):
        parts.append(block(nyu.REFRIGERATOR, body, (width, depth, high - low), (0, depth / 2, low)))
        at = (-width * 0.4, depth + 0.02, (low + high) / 2 - 0.17)
        parts.append(block(nyu.REFRIGERATOR, metal(rng), (0.03, 0.05, 0.35), at))
    return Piece(tuple(parts), width, depth + 0.05, height)


def toilet(rng: Rng) -> Piece:
    white = ceramic(rng)
    width = rng.uniform(0.36, 0.42)
    parts = (
        block(nyu.TOILET, white, (width, 0.2, 0.38), (0, 0.1, 0.4), cushion()),
        block(nyu.TOILET, white, (width * 0.6, 0.45, 0.38), (0, 0.32, 0), cushion()),
        block(nyu.TOILET, white, (width, 0.5, 0.14), (0, 0.43, 0.28), bowl()),
        block(nyu.TOILET, white, (width, 0.48, 0.04), (0, 0.43, 0.41), cushion()),
    )
    return Piece(parts, 0.6, 0.7, 0.8)


def sink(rng: Rng) -> Piece:
    """A basin on a pedestal or on a cabinet, with a tap."""
    width, depth, top = rng.uniform(0.5, 0.7), rng.uniform(0.42, 0.5), rng.uniform(0.8, 0.88)
    white, steel = ceramic(rng), metal(rng)
    parts = [
        block(nyu.SINK, white, (width, depth, 0.22), (0, depth / 2, top - 0.2), bowl()),
        block(nyu.SINK, white, (width, 0.12, 0.06), (0, 0.06, top - 0.04)),
        block(nyu.SINK, steel, (0.03, 0.03, 0.18), (0, 0.08, top), cylinder()),
        block(nyu.SINK, steel, (0.03, 0.16, 0.03), (0, 0.14, top + 0.15)),
    ]
    if rng.random() < 0.5:
        parts.append(block(nyu.SINK, white, (0.18, 0.18, top - 0.15), (0, depth * 0.45, 0), cylinder()))
    else:
        parts += cabinet(rng, height=top - 0.2, width=width).parts
    return Piece(tuple(parts), width, depth + 0.1, top + 0.15)


def bathtub(rng: Rng) -> Piece:
    """Along the wall: a white body around a hollow, with a tap."""
    width, depth, height = rng.uniform(1.5, 1.75), rng.uniform(0.7, 0.8), rng.uniform(0.5, 0.6)
    white, rim = ceramic(rng), 0.08
    parts = [block(nyu.BATHTUB, white, (width - 2 * rim, depth - 2 * rim, height), (0, depth / 2, 0.02), bowl())]
    for y in (rim / 2, depth - rim / 2):
        parts.append(block(nyu.BATHTUB, white, (width, rim, height), (0, y, 0)))
    for x in (-(width - rim) / 2, (width - rim) / 2):
        parts.append(block(nyu.BATHTUB, white, (rim, depth, height), (x, depth / 2, 0)))
    parts.append(block(nyu.BATHTUB, metal(rng), (0.04, 0.15, 0.04), (width * 0.4, 0.1, height + 0.08)))
    return Piece(tuple(parts), width, depth, height)


def television(rng: Rng, *, on: bool) -> tuple[Part, ...]:
    """A flat screen on a foot, the foot's bottom at the origin."""
    width = rng.uniform(0.7, 1.3)
    height = width * 0.57
    black = Material((0.015,) * 3, (0.02,) * 3, gloss=0.5)
    picture = Material((0.1, 0.2, 0.5), (0.8, 0.6, 0.3), "art", width, gloss=0.3, glow=0.9) if on else black
    return (
        block(nyu.TELEVISION, black, (width, 0.05, height), (0, 0, 0.06)),
        block(nyu.TELEVISION, picture, (width - 0.05, 0.02, height - 0.05), (0, 0.025, 0.085)),
        block(nyu.TELEVISION, black, (width * 0.4, 0.18, 0.02), (0, 0, 0)),
        block(nyu.TELEVISION, black, (0.06, 0.04, 0.08), (0, 0, 0)),
    )
