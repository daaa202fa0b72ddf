"""What an RGB-D camera makes of a view: exposure, noise, and depth with the faults of structured light (Kinect)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.simulation.rendering import Rendering
from asymformer_ros.simulation.scene import Scene

Rng = np.random.Generator
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DepthModel:
    """Faults of depth, metres.

    The noise along a ray grows with the square of the distance (Nguyen, Izadi and Lovell, 2012), and depth comes in
    steps of whole disparities. Where the projector, `baseline` beside the camera, does not reach, depth is unknown; so
    it is on glass, outside `nearest`..`farthest`, and at random on dark and on slanted surfaces.
    """

    nearest: float = 0.4
    farthest: float = 8.0
    noise: float = 0.0012
    noise_growth: float = 0.0019
    step: float = 0.0028
    baseline: float = 0.075
    jitter: float = 0.6  # pixels by which edges fray
    darkest: float = 0.05
    most_slanted: float = 0.2  # cosine


KINECT = DepthModel()


def expose(radiance: _Floats, rng: Rng) -> NDArray[np.uint8]:
    """Linear light (H, W, 3) as an automatic camera takes it: exposure, white balance, lens, noise; (H, W, 3) uint8."""
    brightness = np.percentile(radiance.mean(axis=2), 75)
    gain = rng.uniform(0.4, 0.65) / max(float(brightness), 1e-6) * (1 + rng.normal(0, 0.04, 3))
    image = cv2.GaussianBlur(radiance * gain.astype(np.float32), (3, 3), rng.uniform(0.4, 0.7))
    image = np.clip(image, 0, 1.2)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.sqrt(image * 1.5e-4 + 2e-6)
    curved = np.clip(image, 0, 1) ** np.float32(1 / 2.2)
    return np.rint(curved * 255).astype(np.uint8)


def measure_depth(
    scene: Scene, view: Rendering, pose: NDArray[np.float64], rng: Rng, model: DepthModel = KINECT
) -> NDArray[np.uint16]:
    """Depth (H, W) uint16 millimetres, 0 where the sensor does not know it."""
    unknown = _in_shadow(scene, view, pose, model) | _without_return(view, rng, model)
    height, width = view.depth.shape
    jittered = _jittered_edges(view.depth, rng, model.jitter)
    deviation = model.noise + model.noise_growth * (jittered - 0.4) ** 2
    noisy = jittered + deviation * cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (3, 3), 0.7)
    inverse = np.rint(1 / np.maximum(noisy, 0.1) / model.step) * model.step
    measured = 1 / np.maximum(inverse, 1e-3)
    unknown |= (measured < model.nearest) | (measured > model.farthest)
    return np.where(unknown, 0, np.rint(measured * 1000)).astype(np.uint16)


def _jittered_edges(depth: _Floats, rng: Rng, jitter: float) -> _Floats:
    """Depth with each pixel taken from about `jitter` pixels beside it."""
    height, width = depth.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    shift = 2 * jitter * cv2.GaussianBlur(rng.standard_normal((height, width, 2), dtype=np.float32), (3, 3), 0.8)
    x, y = columns + shift[..., 0], rows + shift[..., 1]
    return cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _in_shadow(scene: Scene, view: Rendering, pose: NDArray[np.float64], model: DepthModel) -> NDArray[np.bool_]:
    """Where something stands between the projector and what the camera sees."""
    projector = (pose[:3, 3] - model.baseline * pose[:3, 0]).astype(np.float32)
    points = view.points.reshape(-1, 3)
    origins = np.broadcast_to(projector, points.shape).copy()
    return scene.blocked(origins, points - projector, 0.995).reshape(view.depth.shape)


def _without_return(view: Rendering, rng: Rng, model: DepthModel) -> NDArray[np.bool_]:
    """Glass, and patches of what is dark, slanted or far."""
    height, width = view.depth.shape
    patches = cv2.resize(rng.random((height // 6 + 1, width // 6 + 1), dtype=np.float32), (width, height))
    dark = np.clip(1 - view.albedo / model.darkest, 0, 1) * np.clip(view.depth / 3, 0.3, 1)
    slanted = np.clip(1.5 * (1 - view.facing / model.most_slanted), 0, 1)
    glass = np.where(view.clear, 0.85, 0)
    return patches < np.maximum(np.maximum(dark, slanted), glass)


def photograph(scene: Scene, view: Rendering, pose: NDArray[np.float64], rng: Rng) -> RawRgbd:
    """Colour, depth and true labels of a view."""
    return RawRgbd(rgb=expose(view.radiance, rng), depth=measure_depth(scene, view, pose, rng), labels=view.labels)
