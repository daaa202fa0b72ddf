"""What those who use the outputs read: Nav2's semantic layer, nvblox, RViz, PCL. A node of its own, over real DDS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("torch", reason="the torch backend serves in these tests")
from node_session import MILLIMETRES, RAMP, Session
from ros_harness import wait_until
from sensor_msgs.msg import Image, PointCloud2, PointField

from asymformer_ros.frames.depth import metres_from_millimetres

pytestmark = pytest.mark.ros

NUMPY_TYPES = {PointField.FLOAT32: "f4", PointField.UINT32: "u4"}


@pytest.fixture(scope="module")
def session(start_peer: Any, start_node: Any) -> Session:
    """One node with default parameters, shared by the tests that leave it as it was."""
    peer, domain = start_peer()
    return Session(peer, start_node(domain)).listen().connected()


@pytest.fixture(scope="module")
def answer(session: Session) -> dict[str, Any]:
    """Every output of one frame."""
    return session.exchange_all()


def cloud(message: PointCloud2) -> np.ndarray:
    """The points as the message's own fields describe them, (height, width)."""
    fields = {field.name: (NUMPY_TYPES[field.datatype], field.offset) for field in message.fields}
    dtype = np.dtype(
        {
            "names": list(fields),
            "formats": ["<" + kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": message.point_step,
        }
    )
    assert not message.is_bigendian
    assert message.row_step == message.point_step * message.width
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def bytes_per_pixel(message: Image) -> float:
    assert message.step * message.height == len(message.data)
    return message.step / message.width


def test_the_cloud_is_organised_and_has_the_size_and_the_header_of_the_labels(answer: dict[str, Any]) -> None:
    points, labels = answer["points"], answer["labels"]
    assert (points.width, points.height) == (labels.width, labels.height) == RAMP.shape[1::-1]
    assert points.header == labels.header == answer["confidence"].header == answer["camera_info"].header
    assert [field.name for field in points.fields] == ["x", "y", "z", "rgb", "label", "confidence"]
    assert not points.is_dense, "it holds NaN where depth is unknown"


def test_each_point_of_the_cloud_is_its_pixel(answer: dict[str, Any]) -> None:
    points, metres = cloud(answer["points"]), metres_from_millimetres(MILLIMETRES)
    rows, columns = np.indices(metres.shape)
    np.testing.assert_allclose(points["z"], metres)
    np.testing.assert_allclose(points["x"], (columns - 5.0) / 5.0 * metres, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(points["y"], (rows - 5.0) / 5.0 * metres, rtol=1e-5, atol=1e-5)
    assert np.isnan(points["x"][:20]).all(), "depth is unknown there"
    assert points["label"].tobytes() == np.array(answer["labels"].data, "<u4").tobytes()
    shares = np.array(answer["confidence"].data, np.float32).reshape(metres.shape) / 255
    np.testing.assert_allclose(points["confidence"], shares, rtol=1e-5)
    packed = points["rgb"].view("<u4")
    np.testing.assert_array_equal(np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1), RAMP)


def test_labels_and_confidence_are_one_byte_a_pixel_without_padding(answer: dict[str, Any]) -> None:
    for name in ("labels", "confidence"):
        assert (answer[name].encoding, bytes_per_pixel(answer[name])) == ("mono8", 1)


def test_points_wait_for_camera_info_said_once_while_all_else_goes_on(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain)).listen("labels", "points").connected()
    session.calibrated = False
    told = "segmentation/points is not published: no camera info has come"

    def heard() -> bool:
        session.exchange("labels")
        return told in session.node.output

    wait_until(heard, "the reason")
    session.exchange("labels")
    assert session.received["points"] == []
    assert session.node.output.count(told) == 1
    session.calibrated = True
    session.exchange("points")
    assert "Traceback" not in session.node.output
