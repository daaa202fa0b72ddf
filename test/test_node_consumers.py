"""What those who use the outputs read: Nav2's semantic layer, nvblox, RViz, PCL. A node of its own, over real DDS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("onnxruntime", reason="the onnxruntime backend serves in these tests")
import yaml
from node_session import MILLIMETRES, RAMP, Session
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_harness import wait_until
from sensor_msgs.msg import Image, PointCloud2, PointField

from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.models.groups import LabelGroups
from asymformer_ros.models.labels import label_set

try:
    from vision_msgs.msg import LabelInfo
except ImportError:  # it comes with a ROS installation only
    LabelInfo = None

pytestmark = pytest.mark.ros

SERVED = ("-p", "backend:=onnxruntime")  # with the model demo: the quickest to start
CONFIG = Path(__file__).parents[1] / "config"
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
NUMPY_TYPES = {PointField.FLOAT32: "f4", PointField.UINT32: "u4"}


@pytest.fixture(scope="module")
def session(start_peer: Any, start_node: Any) -> Session:
    """One node with default parameters, shared by the tests that leave it as it was."""
    peer, domain = start_peer()
    return Session(peer, start_node(domain, *SERVED, model="demo")).listen().connected()


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


def test_what_is_latched_comes_before_the_first_frame(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    received = {"legend": peer.listen(Image, "/segmentation/legend", LATCHED)}
    if LabelInfo is not None:
        received["label_info"] = peer.listen(LabelInfo, "/segmentation/label_info", LATCHED)
    session = Session(
        peer, start_node(domain, *SERVED, "-p", f"label_groups:={CONFIG}/nav2_label_groups.yaml", model="demo")
    )
    session.connected()
    wait_until(lambda: all(received.values()), "the legend and the names, though no frame was sent")
    if LabelInfo is not None:
        (info,) = received["label_info"]
        layer = nav2_layer()["camera"]
        known = {name for kind in layer["class_types"] for name in layer[kind]["classes"]}
        assert {entry.class_name for entry in info.class_map} == known, (
            "a name that the costmap does not know is dropped"
        )
        assert [entry.class_id for entry in info.class_map] == [0, 1, 2]


def test_points_wait_for_camera_info_said_once_while_all_else_goes_on(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, *SERVED, model="demo")).listen("labels", "points").connected()
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


def nav2_layer() -> dict[str, Any]:
    parameters = yaml.safe_load((CONFIG / "nav2_semantic_layer.yaml").read_text())
    layer: dict[str, Any] = parameters["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_layer"]
    return layer


def test_nav2_reads_topics_that_there_are_and_classes_that_the_groups_make(session: Session) -> None:
    camera = nav2_layer()["camera"]
    groups = LabelGroups.read(CONFIG / "nav2_label_groups.yaml", label_set("nyuv2_40"))
    classes = [name for kind in camera["class_types"] for name in camera[kind]["classes"]]
    assert classes == list(groups.label_set.names)
    assert groups.table[label_set("nyuv2_40").names.index("ceiling")] == 255, "it would block the floor beneath it"
    published = dict(session.peer.node.get_topic_names_and_types())
    assert published[camera["segmentation_topic"]] == published[camera["confidence_topic"]] == ["sensor_msgs/msg/Image"]
    assert published[camera["pointcloud_topic"]] == ["sensor_msgs/msg/PointCloud2"]
    assert camera["labels_topic"] == "/segmentation/label_info"
    if LabelInfo is not None:
        assert published[camera["labels_topic"]] == ["vision_msgs/msg/LabelInfo"]


def test_nav2_s_lifecycle_manager_is_told_that_there_is_no_bond(session: Session) -> None:
    parameters = yaml.safe_load((CONFIG / "nav2_semantic_layer.yaml").read_text())
    manager = parameters["lifecycle_manager_segmentation"]["ros__parameters"]
    assert (manager["bond_timeout"], manager["node_names"]) == (0.0, ["segmentation_node"])
    assert "/bond" not in dict(session.peer.node.get_topic_names_and_types())


def test_nvblox_s_mask_is_0_for_all_but_people() -> None:
    classes = label_set("nyuv2_40")
    groups = LabelGroups.read(CONFIG / "nvblox_label_groups.yaml", classes)
    masked = [name for name, value in zip(classes.names, groups.table, strict=False) if value != 0]
    assert masked == ["person"]
    told = (CONFIG / "nvblox.yaml").read_text()
    assert "camera_0/mask/image          /segmentation/labels" in told
    assert "camera_0/mask/camera_info    /segmentation/camera_info" in told
