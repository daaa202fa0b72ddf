"""Colours as other cameras and other light would give them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.training.recipe import Colour

_MAX_BLUR = 1.5  # pixels, of a Gaussian
_MAX_NOISE = 12.0  # levels of 255
_JPEG_QUALITY = (25, 90)
_TINT = 0.15  # most that a channel becomes lighter or darker than the others


def change_colours(rgb: NDArray[np.uint8], colour: Colour, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random light, hue and saturation, then the faults of a camera, of (H, W, 3) uint8 RGB."""
    rgb = _change_hue(_change_light(rgb, colour, rng), colour, rng)
    if rng.random() < colour.blur:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, _MAX_BLUR))  # type: ignore[assignment]
    if rng.random() < colour.noise:
        noise = rng.standard_normal(rgb.shape, np.float32) * np.float32(rng.uniform(1, _MAX_NOISE))
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if rng.random() < colour.jpeg:
        rgb = _through_jpeg(rgb, int(rng.integers(*_JPEG_QUALITY)))
    return rgb


def _change_light(rgb: NDArray[np.uint8], colour: Colour, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast, gamma and white balance, by one table of 256 levels for each channel."""
    brightness, contrast = (1 + rng.uniform(-v, v) for v in (colour.brightness, colour.contrast))
    levels, grey = np.arange(256), float(rgb.mean()) * brightness
    light = np.clip(levels * brightness * contrast + grey * (1 - contrast), 0, 255)
    if colour.gamma:
        light = 255 * (light / 255) ** np.exp(rng.uniform(-colour.gamma, colour.gamma))
    tint = rng.uniform(1 - _TINT, 1 + _TINT, 3) if rng.random() < colour.tint else np.ones(3)
    table = np.clip(light[:, None] * tint, 0, 255).astype(np.uint8)
    return cv2.LUT(rgb, table[None])  # type: ignore[return-value]


def _change_hue(rgb: NDArray[np.uint8], colour: Colour, rng: np.random.Generator) -> NDArray[np.uint8]:
    saturation, turns = 1 + rng.uniform(-colour.saturation, colour.saturation), rng.uniform(-colour.hue, colour.hue)
    levels = np.arange(256)
    hue = (levels + round(turns * 180)) % 180
    table = np.stack((hue, np.minimum(levels * saturation, 255), levels), axis=-1).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), table[None])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)  # type: ignore[return-value]


def _through_jpeg(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """As JPEG would leave it; the order of the channels means nothing to the compression's faults."""
    _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[return-value]
