"""What surfaces look like: two colours and the pattern that mixes them."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float]
"""Share of the light that comes back, R, G, B, 0..1, linear."""

_TILE = 256  # texels of a pattern's edge; it repeats without a seam
_SEED = 7  # of the patterns, which are the same in every world


@dataclass(frozen=True)
class Material:
    """Appearance of a surface. Lengths in metres.

    pattern: one of PATTERNS; repeat: length after which it repeats. gloss: strength of highlights, 0..1. glow: light
    that the surface itself gives, in units of its colour. clear: glass, in which depth cameras see nothing.
    """

    color: Color
    second: Color
    pattern: str = "plain"
    repeat: float = 1.0
    gloss: float = 0.0
    glow: float = 0.0
    clear: bool = False


def _noise(rng: np.random.Generator, across: int, up: int) -> NDArray[np.float32]:
    """Smooth noise, standard deviation about 1, of `across` times `up` cells; seamless."""
    cells = np.pad(rng.standard_normal((up, across)).astype(np.float32), 2, mode="wrap")
    fine = cv2.resize(cells, None, fx=_TILE / across, fy=_TILE / up, interpolation=cv2.INTER_CUBIC)
    top, left = 2 * _TILE // up, 2 * _TILE // across
    return fine[top : top + _TILE, left : left + _TILE]  # type: ignore[return-value]


def _grid(across: int, up: int, line: float, shift: float = 0.0) -> NDArray[np.float32]:
    """1 on the lines between cells, 0 inside; every other row is shifted by `shift` cells."""
    v, u = np.mgrid[:_TILE, :_TILE] / _TILE * np.array([up, across])[:, None, None]
    u = u + shift * (np.floor(v) % 2)
    return ((u % 1 < line) | (v % 1 < line * up / across)).astype(np.float32)


def _art(rng: np.random.Generator) -> NDArray[np.float32]:
    """Blots and strokes with hard edges, as of a painting."""
    blots = np.digitize(_noise(rng, 4, 4), (-0.7, 0.0, 0.8)) / 3
    return np.where(_noise(rng, 16, 5) > 1.1, 1 - blots, blots).astype(np.float32)


@cache
def pattern_atlas() -> NDArray[np.float32]:
    """All patterns in the order of PATTERNS: (n, 256, 256), the share of the second colour, 0..1."""
    rng = np.random.default_rng(_SEED)
    fine = rng.standard_normal((_TILE, _TILE)).astype(np.float32)
    rows = np.mgrid[:_TILE, :_TILE] / _TILE * 2 * np.pi
    made = {
        "plain": 0.5 + 0.12 * _noise(rng, 4, 4) + 0.05 * _noise(rng, 32, 32),
        "wood": 0.5 + 0.25 * _noise(rng, 4, 48) + 0.12 * _noise(rng, 16, 128),
        "planks": np.maximum(_grid(2, 8, 0.012, 0.5), 0.3 + 0.14 * _noise(rng, 2, 8) + 0.1 * _noise(rng, 8, 128)),
        "tiles": np.maximum(_grid(4, 4, 0.04), 0.1 + 0.06 * _noise(rng, 16, 16)),
        "bricks": np.maximum(_grid(4, 8, 0.05, 0.5), 0.25 + 0.12 * _noise(rng, 8, 16)),
        "fabric": 0.5 + 0.25 * np.sin(32 * rows[0]) * np.sin(32 * rows[1]) + 0.12 * fine,
        "carpet": 0.5 + 0.2 * fine + 0.15 * _noise(rng, 16, 16),
        "stripes": 0.5 + 0.5 * np.sign(np.sin(8 * rows[1])),
        "checks": 0.25 * (2 + np.sign(np.sin(4 * rows[0])) + np.sign(np.sin(4 * rows[1]))),
        "ornament": 0.5 + 0.5 * np.sin(4 * rows[0] + 2 * np.sin(4 * rows[1])) * np.sin(4 * rows[1]),
        "marble": 0.5 + 0.5 * np.sin(2 * rows[0] + 2.5 * _noise(rng, 4, 4)),
        "art": _art(rng),
        "view": np.clip(1.2 - 2 * np.abs(rows[0] / (2 * np.pi) - 0.5) + 0.25 * _noise(rng, 8, 8), 0, 1),
    }
    assert tuple(made) == PATTERNS
    return np.clip(np.stack(list(made.values())), 0, 1).astype(np.float32)


PATTERNS = (
    "plain", "wood", "planks", "tiles", "bricks", "fabric", "carpet", "stripes", "checks", "ornament", "marble", "art",
    "view",
)  # fmt: skip


def hue(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """A colour of any hue."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def _lighter(color: Color, factor: float) -> Color:
    red, green, blue = (min(1.0, channel * factor) for channel in color)
    return red, green, blue


def wood(rng: np.random.Generator) -> Material:
    """From pale birch to dark walnut, sometimes painted white."""
    if rng.random() < 0.2:
        return paint(rng, white=True)
    value = rng.uniform(0.12, 0.6)
    color = colorsys.hsv_to_rgb(rng.uniform(0.05, 0.11), rng.uniform(0.35, 0.7), value)
    return Material(color, _lighter(color, 0.65), "wood", rng.uniform(0.5, 1.2), gloss=rng.uniform(0, 0.15))


def fabric(rng: np.random.Generator) -> Material:
    """Cloth of any colour, woven, striped, chequered or plain."""
    color = hue(rng, (0.0, 0.6), (0.08, 0.7))
    pattern = str(rng.choice(("fabric", "fabric", "plain", "stripes", "checks", "ornament")))
    even = pattern in ("fabric", "plain")
    second = _lighter(color, rng.uniform(0.5, 0.8)) if even else hue(rng, (0, 0.6), (0.1, 0.8))
    return Material(color, second, pattern, rng.uniform(0.1, 0.5))


def paint(rng: np.random.Generator, *, white: bool = False) -> Material:
    """An even coat: white, or a pale or strong colour."""
    color = hue(rng, (0, 0.05), (0.65, 0.9)) if white else hue(rng, (0.05, 0.7), (0.2, 0.8))
    return Material(color, _lighter(color, 0.93), "plain", 0.8, gloss=rng.uniform(0, 0.25))


def metal(rng: np.random.Generator) -> Material:
    """Brushed steel, black or white."""
    value = rng.choice((0.03, 0.35, 0.75)) * rng.uniform(0.8, 1.2)
    return Material((value,) * 3, (value * 0.9,) * 3, "wood", 0.4, gloss=0.4)


def ceramic(rng: np.random.Generator) -> Material:
    """White, rarely with a tint, shiny."""
    color = hue(rng, (0, 0.12), (0.75, 0.92))
    return Material(color, _lighter(color, 0.97), "plain", 1.0, gloss=0.6)


def wall_cover(rng: np.random.Generator) -> Material:
    """Paint mostly, else wallpaper, brick or tiles."""
    pattern = str(rng.choice(("plain", "stripes", "ornament", "bricks", "tiles"), p=(0.72, 0.08, 0.08, 0.06, 0.06)))
    color = hue(rng, (0.0, 0.3), (0.45, 0.9))
    return Material(color, _lighter(color, rng.uniform(0.8, 0.95)), pattern, rng.uniform(0.5, 1.2))


def floor_cover(rng: np.random.Generator) -> Material:
    """Planks, tiles, carpet or stone."""
    pattern = str(rng.choice(("planks", "planks", "tiles", "carpet", "marble", "wood")))
    color = hue(rng, (0.0, 0.35), (0.1, 0.55)) if pattern in ("tiles", "carpet", "marble") else wood(rng).color
    return Material(color, _lighter(color, rng.uniform(0.5, 0.8)), pattern, rng.uniform(0.8, 2.0), rng.uniform(0, 0.3))


def painting(rng: np.random.Generator) -> Material:
    """A picture of two strong colours."""
    return Material(hue(rng, (0.2, 0.9), (0.05, 0.8)), hue(rng, (0.2, 0.9), (0.3, 0.95)), "art", rng.uniform(0.6, 1.2))


def glowing(material: Material, glow: float) -> Material:
    """The same, giving light of its own."""
    return replace(material, glow=glow)
