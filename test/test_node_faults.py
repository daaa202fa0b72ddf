"""What arrives cannot stop the node: bad messages over real DDS, sent to a process of its own."""

from __future__ import annotations

import array
import os
import re
import struct
import sys
import time
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("torch", reason="the torch backend serves in these tests")
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_session import MILLIMETRES, RAMP, Session
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from ros_harness import header, stamps, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from asymformer_ros.node.conversions import image_message

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def session(start_peer: Any, start_node: Any) -> Session:
    """One node that every test here torments and that must serve all the same."""
    peer, domain = start_peer()
    return Session(peer, start_node(domain)).listen("labels").connected()


def test_a_negative_stamp_is_refused_by_name_and_the_next_frame_is_served(session: Session) -> None:
    refusal = r"frame refused: {} image has a stamp below zero \(-0.400 s\): mend the driver's clock"

    def refused() -> bool:
        session.rgb.publish(image_message(RAMP, "rgb8", header(-400_000_000)))
        session.depth.publish(image_message(MILLIMETRES, "16UC1", header(-400_000_000)))
        time.sleep(0.1)
        return all(re.search(refusal.format(what), session.node.output) for what in ("colour", "depth"))

    wait_until(refused, "both refusals")
    session.exchange()


def test_bytes_that_are_no_message_cost_their_message_alone(session: Session) -> None:
    """Text that is no UTF-8, as a driver in C++ may send it, and a message that ends before its time."""
    sent = serialize_message(image_message(RAMP, "rgb8", header(10**9, "ABCD")))
    session.rgb.publish(sent.replace(b"ABCD", b"\xff\xfe\xfd\xfc"))
    for end in (3, 20, 40, len(sent) // 2):
        session.rgb.publish(sent[:end])
    session.exchange()


def test_depth_that_comes_200_ms_late_is_paired(session: Session) -> None:
    late: list[int] = []

    def sent_and_served() -> bool:
        stamp = session.peer.node.get_clock().now().nanoseconds
        late.append(stamp)
        session.rgb.publish(image_message(RAMP, "rgb8", header(stamp)))
        if len(late) > 12:
            session.depth.publish(image_message(MILLIMETRES, "16UC1", header(late[-13])))
        time.sleep(1 / 60)
        return bool(set(late) & set(stamps(session.received["labels"])))

    wait_until(sent_and_served, f"labels of a frame whose depth was late; the node said:\n{session.node.output}")


def test_compressed_depth_that_claims_a_billion_pixels_is_refused_and_the_next_is_served(
    start_peer: Any, start_node: Any
) -> None:
    peer, domain = start_peer()
    node = start_node(domain, "-p", "depth_image_transport:=compressedDepth")
    session = Session(peer, node).listen("labels")
    depth = peer.advertise(CompressedImage, "/depth/image/compressedDepth")
    wait_until(lambda: session.rgb.get_subscription_count() and depth.get_subscription_count(), "subscriptions")
    wait_until(lambda: peer.node.count_publishers("/segmentation/labels"), "labels to be advertised")
    png = cv2.imencode(".png", MILLIMETRES)[1].tobytes()
    huge = png[:16] + struct.pack(">II", 1 << 16, 1 << 15) + png[24:]

    sent: dict[bytes, set[int]] = {huge: set(), png: set()}

    def publish(data: bytes) -> set[int]:
        stamp = peer.node.get_clock().now().nanoseconds
        payload = array.array("B", bytes(12) + data)
        session.rgb.publish(image_message(RAMP, "rgb8", header(stamp)))
        depth.publish(CompressedImage(header=header(stamp), format="16UC1; compressedDepth png", data=payload))
        time.sleep(0.2)
        sent[data].add(stamp)
        return sent[data]

    wait_until(lambda: publish(huge) and "65536x32768 pixels" in node.output, "the refusal")
    wait_until(lambda: publish(png) & set(stamps(session.received["labels"])), f"labels; the node said:\n{node.output}")
    assert node.stop() == 0


def _dying(start_peer: Any, start_node: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Session:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peer, domain = start_peer()
    return Session(peer, start_node(domain, *arguments, module="node_with_a_dying_thread"))


def test_a_dead_thread_ends_an_unmanaged_node_with_1(
    start_peer: Any, start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _dying(start_peer, start_node, monkeypatch).listen("labels").connected()
    while session.node.process.poll() is None:
        session.send()
        time.sleep(0.1)
    assert session.node.wait() == 1
    assert "the thread that segments has ended: SystemExit(3)" in session.node.output


def test_a_dead_thread_is_an_error_of_a_managed_node(
    start_peer: Any, start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    session = _dying(start_peer, start_node, monkeypatch, "-p", "autostart:=false").listen("labels")
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert session.peer.call(ChangeState, "/segmentation_node/change_state", request).success
    status = session.connected().peer.listen(DiagnosticArray, "/diagnostics")

    def told() -> bool:
        session.send()
        time.sleep(0.1)
        return bool(status and status[-1].status[0].level == DiagnosticStatus.ERROR)

    wait_until(told, "the error")
    assert status[-1].status[0].message == "the thread that segments has ended: SystemExit(3)"
    assert session.node.stop() == 0


def test_noise_of_every_size_and_encoding_leaves_the_node_serving(session: Session) -> None:
    rng = np.random.default_rng(3)
    for number in range(200):
        sent = header(session.peer.node.get_clock().now().nanoseconds)
        height, width, step = (int(rng.integers(0, 2 ** int(rng.integers(1, 32)))) for _ in range(3))
        encoding = str(rng.choice(["rgb8", "bgra8", "16UC1", "32FC1", "", "x" * 1000]))
        noise = Image(header=sent, height=height, width=width, step=step, encoding=encoding)
        noise.data = array.array("B", rng.bytes(int(rng.integers(0, 2000))))
        (session.rgb if number % 2 else session.depth).publish(noise)
        time.sleep(0.005)
    session.exchange()
    assert "Traceback" not in session.node.output


def test_a_stream_that_stops_is_a_warning_within_three_seconds(session: Session) -> None:
    status = session.peer.listen(DiagnosticArray, "/diagnostics")

    def said(text: str) -> bool:
        return bool(status and re.search(text, status[-1].status[0].message))

    def serving() -> bool:
        session.send()
        time.sleep(0.05)
        return said("^segmenting$")

    wait_until(serving, "frames to be served without a word")
    start = time.monotonic()
    wait_until(lambda: said("colour images stopped .* still offers /rgb/image"), "the warning")
    assert time.monotonic() - start < 4
    assert status[-1].status[0].level == DiagnosticStatus.WARN


def test_odd_depth_is_named_and_served(session: Session) -> None:
    sent: list[int] = []
    sentences = (
        "depth is empty: no pixel of it is known",
        "depth is in the frame 'camera_depth_optical_frame' and colour in 'camera_color_optical_frame'",
    )

    def served_and_named() -> bool:
        sent.append(session.peer.node.get_clock().now().nanoseconds)
        session.rgb.publish(image_message(RAMP, "rgb8", header(sent[-1])))
        session.depth.publish(image_message(MILLIMETRES * 0, "16UC1", header(sent[-1], "camera_depth_optical_frame")))
        time.sleep(0.1)
        return bool({*sent} & {*stamps(session.received["labels"])}) and all(
            text in session.node.output for text in sentences
        )

    wait_until(served_and_named, f"labels without depth, and in the log {sentences}")


def test_calibration_that_was_published_once_is_received_where_durability_is_overridden(
    start_peer: Any, start_node: Any
) -> None:
    peer, domain = start_peer()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    info = CameraInfo(width=640, height=360, binning_x=2, binning_y=2, k=[7.0] * 9)
    peer.node.create_publisher(CameraInfo, "/rgb/camera_info", latched).publish(info)
    override = "qos_overrides./rgb/camera_info.subscription.durability:=transient_local"
    reliable = "qos_overrides./rgb/camera_info.subscription.reliability:=reliable"
    session = Session(peer, start_node(domain, "-p", override, "-p", reliable))
    received = peer.listen(CameraInfo, "/segmentation/camera_info")

    def served() -> bool:
        stamp = header(peer.node.get_clock().now().nanoseconds)
        session.rgb.publish(image_message(RAMP, "rgb8", stamp))
        session.depth.publish(image_message(MILLIMETRES, "16UC1", stamp))
        time.sleep(0.2)
        return bool(received)

    wait_until(served, f"the calibration; the node said:\n{session.node.output}")
    assert (received[0].binning_x, received[0].width, list(received[0].k)) == (2, 640, [7.0] * 9)
