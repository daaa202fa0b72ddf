"""Cameras to try things with: intrinsics, noise, and frames that are prepared ahead."""

from __future__ import annotations

import queue
import time

import numpy as np
import pytest

from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.node.frame_source import FramesAhead, SensorNoise

SMALL = Intrinsics.typical(80, 60)


@pytest.mark.parametrize("wrong", [(0, 60, 50, 50), (80, -1, 50, 50), (80, 60, 0, 50), (80, 60, 50, float("nan"))])
def test_intrinsics_that_no_camera_has_are_refused(wrong: tuple[int, int, float, float]) -> None:
    with pytest.raises(ConfigurationError):
        Intrinsics(*wrong, cx=1.0, cy=1.0)


def test_noise_changes_pixels_and_makes_holes_of_about_the_asked_share() -> None:
    clean = RawRgbd(np.full((240, 320, 3), 128, np.uint8), np.full((240, 320), 1000, np.uint16))
    noisy = SensorNoise(pixel_noise=5, depth_holes=0.2).apply(clean, np.random.default_rng(0))
    assert noisy.rgb.std() == pytest.approx(5, rel=0.1)
    assert (noisy.depth == 0).mean() == pytest.approx(0.2, abs=0.06)
    assert clean.depth.min() == 1000


def test_noise_does_not_wrap_around_black_and_white() -> None:
    for level in (0, 255):
        clean = RawRgbd(np.full((60, 80, 3), level, np.uint8), np.zeros((60, 80), np.uint16))
        noisy = SensorNoise(pixel_noise=3).apply(clean, np.random.default_rng(0))
        assert np.abs(noisy.rgb.astype(int) - level).max() < 30


@pytest.mark.parametrize("wrong", [{"pixel_noise": -1}, {"depth_holes": 1.5}, {"depth_holes": -0.1}])
def test_noise_without_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        SensorNoise(**wrong)


class _Numbered:
    """Three frames, the fourth missing or damaged."""

    intrinsics = SMALL

    def __init__(self, damaged: bool) -> None:
        self._damaged = damaged

    def frame(self, index: int) -> RawRgbd | None:
        if index < 3:
            return RawRgbd(np.full((2, 2, 3), index, np.uint8), np.zeros((2, 2), np.uint16))
        if self._damaged:
            raise FrameError("frame 3 is damaged")
        return None


class _Endless:
    intrinsics = SMALL

    def frame(self, index: int) -> RawRgbd:
        return RawRgbd(np.full((60, 80, 3), index % 256, np.uint8), np.zeros((60, 80), np.uint16))


def _next(frames: FramesAhead) -> RawRgbd | None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            return frames.next()
        except queue.Empty:
            time.sleep(0.01)
    raise AssertionError("no frame came")


def test_frames_come_ahead_in_order_and_then_the_end() -> None:
    frames = FramesAhead(_Numbered(damaged=False), SensorNoise(), seed=0)
    assert [frame.rgb[0, 0, 0] for frame in (_next(frames), _next(frames), _next(frames)) if frame] == [0, 1, 2]
    assert _next(frames) is None
    frames.close()


def test_what_reading_ahead_raised_arrives_at_its_turn() -> None:
    frames = FramesAhead(_Numbered(damaged=True), SensorNoise(), seed=0)
    for _ in range(3):
        _next(frames)
    with pytest.raises(FrameError, match="frame 3"):
        _next(frames)
    frames.close()


def test_closing_ends_a_camera_that_never_ends() -> None:
    frames = FramesAhead(_Endless(), SensorNoise(), seed=0)
    _next(frames)
    frames.close()
    assert not frames.alive
