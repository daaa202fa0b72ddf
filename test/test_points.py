"""Points of labelled pixels: where they lie, what they hold, and which calibration counts."""

from __future__ import annotations

import numpy as np
import pytest

from asymformer_ros.frames import points
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.points import POINT, PointProjector

RNG = np.random.default_rng(3)
SIZE = (6, 8)
INTRINSICS = Intrinsics(8, 6, fx=10.0, fy=12.0, cx=3.5, cy=2.0)


def arbitrary() -> tuple[RgbdFrame, np.ndarray, np.ndarray]:
    depth = RNG.uniform(0.3, 5.0, SIZE).astype(np.float32)
    depth[1, 2] = depth[5, 7] = np.nan
    rgb = RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    labels, confidence = RNG.integers(0, 256, (2, *SIZE), dtype=np.uint8)
    return RgbdFrame(rgb, depth), labels, confidence


def test_each_pixel_becomes_the_point_that_projects_onto_it() -> None:
    frame, labels, confidence = arbitrary()
    out = np.zeros(SIZE, POINT)
    PointProjector(INTRINSICS, out).project(frame, labels, confidence)
    known = np.isfinite(frame.depth)
    rows, columns = np.nonzero(known)
    at = out[known]
    np.testing.assert_allclose(10.0 * at["x"] / at["z"] + 3.5, columns, atol=1e-4)
    np.testing.assert_allclose(12.0 * at["y"] / at["z"] + 2.0, rows, atol=1e-4)
    np.testing.assert_array_equal(at["z"], frame.depth[known])
    for name in ("x", "y", "z"):
        assert np.isnan(out[name][~known]).all()


def test_each_point_holds_its_pixel_s_colour_label_and_confidence_also_without_depth() -> None:
    frame, labels, confidence = arbitrary()
    out = np.zeros(SIZE, POINT)
    PointProjector(INTRINSICS, out).project(frame, labels, confidence)
    packed = out["rgb"]
    np.testing.assert_array_equal(np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1), frame.rgb)
    assert np.isfinite(packed.view(np.float32)).all(), "no colour reads as NaN, which would take its point out"
    np.testing.assert_array_equal(out["label"], labels)
    np.testing.assert_allclose(out["confidence"], confidence / 255, rtol=1e-6)


def test_a_frame_leaves_nothing_of_the_one_before_it() -> None:
    kept = np.zeros(SIZE, POINT)
    projector = PointProjector(INTRINSICS, kept)
    for _ in range(3):
        frame = arbitrary()
        fresh = np.zeros(SIZE, POINT)
        projector.project(*frame)
        PointProjector(INTRINSICS, fresh).project(*frame)
        assert kept.tobytes() == fresh.tobytes()


def test_bands_of_rows_make_what_all_rows_together_make(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, whole, banded = arbitrary(), np.zeros(SIZE, POINT), np.zeros(SIZE, POINT)
    PointProjector(INTRINSICS, whole).project(*frame)
    monkeypatch.setattr(points, "_BAND", 4 * SIZE[1] * POINT.itemsize)  # four rows, and the two that are left
    PointProjector(INTRINSICS, banded).project(*frame)
    assert whole.tobytes() == banded.tobytes()


class TestCalibration:
    """What a CameraInfo says of the images that it comes with."""

    @pytest.fixture(autouse=True)
    def _needs_ros(self) -> None:
        pytest.importorskip("rclpy", reason="needs ROS")

    @staticmethod
    def info(**changes: object) -> object:
        from sensor_msgs.msg import CameraInfo

        k = [400.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
        info = CameraInfo(width=640, height=480, k=k)
        for name, value in changes.items():
            setattr(info, name, value)
        return info

    def test_region_of_interest_and_binning_move_and_scale_the_projection(self) -> None:
        from sensor_msgs.msg import RegionOfInterest

        from asymformer_ros.frames.messages import intrinsics_of

        roi = RegionOfInterest(x_offset=100, y_offset=40, width=400, height=300)
        info = self.info(roi=roi, binning_x=2, binning_y=4)
        assert intrinsics_of(info, (75, 200)) == Intrinsics(200, 75, 200.0, 125.0, 110.0, 50.0)

    def test_binning_that_the_images_do_not_have_is_left_out(self) -> None:
        from asymformer_ros.frames.messages import intrinsics_of

        whole = Intrinsics(640, 480, 400.0, 500.0, 320.0, 240.0)
        assert intrinsics_of(self.info(binning_x=2, binning_y=2), (480, 640)) == whole
        assert intrinsics_of(self.info(), (480, 640)) == whole

    def test_the_projection_of_rectified_images_comes_first(self) -> None:
        from asymformer_ros.frames.messages import intrinsics_of

        p = [410.0, 0.0, 310.0, 0.0, 0.0, 510.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        assert intrinsics_of(self.info(p=p), (480, 640)) == Intrinsics(640, 480, 410.0, 510.0, 310.0, 230.0)

    @pytest.mark.parametrize(
        ("k", "told"),
        [
            ([0.0] * 9, "focal lengths must be above 0, got fx 0.0"),
            ([float("nan")] * 9, "focal lengths must be above 0, got fx nan"),
            ([400.0, 0.0, float("inf"), 0.0, 400.0, 1.0, 0.0, 0.0, 1.0], "centre must be two numbers, got cx inf"),
        ],
    )
    def test_an_absurd_calibration_is_refused_by_its_values(self, k: list[float], told: str) -> None:
        from asymformer_ros.errors import ConfigurationError
        from asymformer_ros.frames.messages import intrinsics_of

        with pytest.raises(ConfigurationError, match=told):
            intrinsics_of(self.info(k=k), (480, 640))
