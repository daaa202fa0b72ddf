"""Frames to try a model on: of a recording, or of the simulated room where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asymformer_ros.depth import metres_from_millimetres
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frame import RgbdFrame
from asymformer_ros.intrinsics import Intrinsics
from asymformer_ros.recording import RgbdRecording
from asymformer_ros.simulation.camera import RoomCamera, SensorNoise

SIMULATED = "simulated room"

_RATE = 0.5  # frames per second of the walk through the room: views that differ
_NOISE = SensorNoise(pixel_noise=4.0, depth_holes=0.03)


def sample_frames(folder: Path | None, count: int) -> Iterator[RgbdFrame]:
    """At most `count` frames, evenly spread over the recording in `folder`, or of the simulated room where it is None.

    Raises ConfigurationError for a count below 1, FrameError where the recording cannot be read.
    """
    if count < 1:
        raise ConfigurationError(f"count must be at least 1 frame, got {count}")
    return _simulated(count) if folder is None else _recorded(RgbdRecording(folder), count)


def _recorded(recording: RgbdRecording, count: int) -> Iterator[RgbdFrame]:
    for index in np.unique(np.linspace(0, len(recording) - 1, count).round().astype(int)):
        yield recording[int(index)]


def _simulated(count: int) -> Iterator[RgbdFrame]:
    camera, rng = RoomCamera(Intrinsics.typical(640, 480), _RATE, seed=0), np.random.default_rng(0)
    for index in range(count):
        raw = _NOISE.apply(camera.frame(index), rng)
        yield RgbdFrame(raw.rgb, metres_from_millimetres(raw.depth))
