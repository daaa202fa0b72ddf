"""The simulated room and the cameras that look at it or at a recording."""

from __future__ import annotations

import queue
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.intrinsics import Intrinsics
from asymformer_ros.recording import RawRgbd
from asymformer_ros.simulation.camera import FramesAhead, RoomCamera, SensorNoise
from asymformer_ros.simulation.room import CEILING, FLOOR, WALL, SimulatedRoom, camera_pose

SMALL = Intrinsics.typical(80, 60)
ROOM_DIAGONAL = 7.3  # metres


def look(forward: tuple[float, float, float], right: tuple[float, float, float]) -> np.ndarray:
    """A pose at 1.2 m above the room's middle."""
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = (0, 0, 1.2)
    return pose


DOWN = look((0, 0, -1), (1, 0, 0))
UP = look((0, 0, 1), (1, 0, 0))


@settings(max_examples=25, deadline=None)
@given(seconds=st.floats(0, 3600))
def test_depth_is_known_everywhere_and_stays_within_the_room(seconds: float) -> None:
    frame = SimulatedRoom().render(camera_pose(seconds), SMALL)
    assert np.isfinite(frame.depth).all()
    assert frame.depth.min() > 0.05
    assert frame.depth.max() < ROOM_DIAGONAL


@settings(max_examples=25, deadline=None)
@given(seconds=st.floats(0, 3600))
def test_the_camera_pose_is_a_right_handed_rotation_inside_the_room(seconds: float) -> None:
    pose = camera_pose(seconds)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert pose[2, 1] < 0, "the image's y axis points down"
    assert (np.abs(pose[:2, 3]) < (2.6, 2.2)).all()


def test_the_flat_ceiling_is_equally_deep_in_every_pixel() -> None:
    frame, labels = SimulatedRoom().render_labelled(UP, SMALL)
    assert (labels == CEILING).mean() > 0.99
    np.testing.assert_allclose(frame.depth[labels == CEILING], 1.3, atol=1e-3)


def test_looking_down_sees_the_floor_at_the_height_of_the_camera() -> None:
    frame, labels = SimulatedRoom().render_labelled(DOWN, SMALL)
    np.testing.assert_allclose(frame.depth[labels == FLOOR], 1.2, atol=1e-3)
    assert (labels == WALL).sum() == 0


def test_depth_follows_the_projection_back_onto_the_wall() -> None:
    frame, labels = SimulatedRoom().render_labelled(look((1, 0, 0), (0, -1, 0)), SMALL)
    np.testing.assert_allclose(frame.depth[labels == WALL].max(), 2.6, atol=1e-3)


def test_a_walk_sees_many_classes_and_no_unknown_one() -> None:
    room = SimulatedRoom()
    seen = np.unique([room.render_labelled(camera_pose(2.0 * step), SMALL)[1] for step in range(15)])
    assert len(seen) >= 10
    assert seen.max() < 40


def test_depth_labels_and_colours_change_together_with_the_size() -> None:
    frame, labels = SimulatedRoom().render_labelled(camera_pose(3), Intrinsics.typical(97, 41))
    assert frame.size == labels.shape == (41, 97)


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others() -> None:
    first, same, other = (SimulatedRoom(seed).render(camera_pose(1), SMALL) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.rgb, same.rgb)
    assert (first.rgb != other.rgb).any()


def test_a_picture_has_contrast() -> None:
    rgb = SimulatedRoom().render(camera_pose(9), SMALL).rgb
    assert rgb.std() > 20


@pytest.mark.parametrize("wrong", [(0, 60, 50, 50), (80, -1, 50, 50), (80, 60, 0, 50), (80, 60, 50, float("nan"))])
def test_intrinsics_that_no_camera_has_are_refused(wrong: tuple[int, int, float, float]) -> None:
    with pytest.raises(ConfigurationError):
        Intrinsics(*wrong, cx=1.0, cy=1.0)


def test_a_room_camera_gives_millimetres_of_the_rendered_depth() -> None:
    raw = RoomCamera(SMALL, rate=10, seed=0).frame(30)
    rendered = SimulatedRoom(0).render(camera_pose(3.0), SMALL)
    np.testing.assert_allclose(raw.depth / 1000, rendered.depth, atol=0.0006)
    np.testing.assert_array_equal(raw.rgb, rendered.rgb)


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
    frames = FramesAhead(RoomCamera(SMALL, rate=10, seed=0), SensorNoise(), seed=0)
    _next(frames)
    frames.close()
    assert not frames.alive
