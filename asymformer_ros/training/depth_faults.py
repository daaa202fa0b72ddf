"""Depth as worse cameras would give it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.training.recipe import DepthFaults

_BLOBS = (6, 12, 24, 48)  # pixels between the random values that holes are made of
_STEP = 0.039  # m, of depth that was stored in 8 bits over 10 m
_FLAT = 0.04  # m that a pixel differs at most from its neighbourhood on a surface

Metres = NDArray[np.float32]


def spoil_depth(
    depth: NDArray[np.uint16], rgb: NDArray[np.uint8], faults: DepthFaults, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Depth (H, W) uint16 millimetres, 0 unknown, with its colours (H, W, 3), as a worse camera would see it."""
    if rng.random() < faults.drop:
        return np.zeros_like(depth)
    metres = depth * np.float32(0.001 * (1 + rng.uniform(-faults.scale, faults.scale)))
    if rng.random() < faults.dither:
        metres = _dithered(metres, rng)
    if rng.random() < faults.noise:
        metres = _noisy(metres, faults, rng)
    if rng.random() < faults.holes:
        metres[_blobs(depth.shape, rng.uniform(0, faults.max_hole_share), rng)] = 0
    if rng.random() < faults.sensor_holes:
        metres[_unseen(metres, rgb, rng)] = 0
    return _millimetres(metres, depth)


def dither_depth(depth: NDArray[np.uint16], faults: DepthFaults, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Depth (H, W) uint16 millimetres, 0 unknown, without the steps of 8 bits as often as the faults say; no fault."""
    if rng.random() >= faults.dither:
        return depth
    return _millimetres(_dithered(depth * np.float32(0.001), rng), depth)


def _millimetres(metres: Metres, before: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """As uint16; what was unknown before stays so."""
    depth = np.clip(np.rint(metres * 1000), 0, 65535).astype(np.uint16)
    depth[before == 0] = 0
    return depth


def _dithered(metres: Metres, rng: np.random.Generator) -> Metres:
    """Smooth surfaces where depth had the steps of 8 bits, a little noise at edges."""
    noisy = metres + rng.uniform(-_STEP / 2, _STEP / 2, metres.shape).astype(np.float32)
    smooth = cv2.blur(noisy, (5, 5))
    return np.where(np.abs(smooth - metres) < _FLAT, smooth, noisy)


def _noisy(metres: Metres, faults: DepthFaults, rng: np.random.Generator) -> Metres:
    """With noise that grows with the distance, in steps that grow with its square."""
    noise = rng.standard_normal(metres.shape, np.float32)
    metres = metres * (1 + np.float32(rng.uniform(0, faults.max_noise)) * noise)
    step = np.float32(rng.uniform(0, faults.max_step) + 1e-6) * metres * metres + np.float32(1e-6)
    return np.rint(metres / step) * step


def _unseen(metres: Metres, rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(H, W) where a structured-light camera sees nothing, each reason by chance."""
    near = np.maximum(metres, 0.3)
    unseen: NDArray[np.bool_] = np.zeros(metres.shape, bool)
    if rng.random() < 0.8:
        unseen |= _shadow(near, rng)
    if rng.random() < 0.5:  # slanted surfaces and edges
        across, down = cv2.Sobel(near, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(near, cv2.CV_32F, 0, 1, ksize=3)
        slope = cv2.blur(np.hypot(across, down) / near, (5, 5))
        unseen |= slope > np.quantile(slope[::4, ::4], rng.uniform(0.85, 1))
    if rng.random() < 0.4:  # dark surfaces, in part
        dark = cv2.blur(rgb.max(axis=2), (7, 7)) < rng.uniform(10, 50)
        unseen |= dark & _blobs(metres.shape, 0.6, rng)
    if rng.random() < 0.3:  # beyond range
        unseen |= metres > rng.uniform(3.5, 8)
    if rng.random() < 0.3:
        unseen |= metres < rng.uniform(0.5, 1)
    if rng.random() < 0.4:  # the side where the cameras do not overlap
        width = int(rng.integers(1, 2 + metres.shape[1] // 14))
        unseen[:, slice(None, width) if rng.random() < 0.5 else slice(-width, None)] = True
    return unseen


def _shadow(metres: Metres, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Beside near edges, on one side, as wide as the disparity changes there."""
    side = 1 if rng.random() < 0.5 else -1
    disparity = rng.uniform(6, 20) / metres * metres.shape[1] / 320  # pixels
    shadow = np.zeros(metres.shape, bool)
    for pixels in range(1, 13, 2):
        shadow |= np.roll(disparity, side * pixels, 1) - disparity > 0.8 * pixels
    return shadow


def _blobs(size: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Smooth random blobs that cover about `share` of (height, width)."""
    cell = int(rng.choice(_BLOBS))
    coarse = rng.standard_normal((size[0] // cell + 2, size[1] // cell + 2), np.float32)
    smooth = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return smooth < np.quantile(smooth[::4, ::4], share)
