"""Small RGB-D frames that are drawn, for tests."""

from __future__ import annotations

import cv2
import numpy as np

Frame = tuple[np.ndarray, np.ndarray]
"""rgb (H, W, 3) uint8 and depth (H, W) uint16, millimetres."""


def frames(count: int, height: int = 72, width: int = 96) -> list[Frame]:
    """Frames that differ, to which a network answers with several classes."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(count):
        rgb = np.full((height, width, 3), 40 + 20 * number % 200, np.uint8)
        cv2.rectangle(rgb, (10 + 6 * number, 20), (50 + 6 * number, 60), (200, 120, 30), -1)
        rgb += rng.integers(0, 20, rgb.shape, np.uint8)
        depth = np.tile(np.linspace(3000, 900, height).astype(np.uint16)[:, None], (1, width))
        depth[:4, :4] = 0
        made.append((rgb, depth))
    return made
