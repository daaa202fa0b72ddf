"""All that a camera does wrong, one after the other, to one node in a process of its own that serves all the same."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("onnxruntime", reason="a small ONNX file is served")
sys.path.append(str(ROOT / "benchmarks"))
from diagnostic_msgs.msg import DiagnosticArray
from node_session import MILLIMETRES, RAMP, Session
from ros_harness import Peer, header, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest
from soak_faults import FAULTS, Sent
from std_msgs.msg import String
from test_onnxruntime import foreign_file

from asymformer_ros.node.conversions import image_message

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def session(start_peer: Any, start_node: Any, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The node that every test here torments."""
    model = foreign_file(tmp_path_factory.mktemp("model") / "tiny.onnx")
    peer, domain = start_peer()
    node = start_node(domain, "-p", "backend:=onnxruntime", model=str(model))
    return Session(peer, node).listen("labels", "summary", "camera_info", "confidence").connected()


@pytest.fixture(autouse=True)
def goes_on_serving(session: Session) -> Iterator[None]:
    """After each test the node lives, serves every output of a good frame, and has said nothing with a traceback."""
    yield
    session.exchange_all()
    assert "Traceback" not in session.node.output
    assert "RuntimeWarning" not in session.node.output


def spoilt(session: Session, name: str, rng: np.random.Generator) -> list[Sent]:
    stamp = session.peer.node.get_clock().now().nanoseconds
    info = CameraInfo(header=header(stamp), height=RAMP.shape[0], width=RAMP.shape[1], k=[5.0] * 9)
    colour = image_message(RAMP, "rgb8", header(stamp, "soak"))
    depth = image_message(MILLIMETRES, "16UC1", header(stamp, "soak"))
    return FAULTS[name]([Sent("rgb", colour), Sent("depth", depth), Sent("info", info)], rng)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_camera_costs_its_own_frames_at_most(name: str, session: Session) -> None:
    seed = random.randrange(10**6)
    rng = np.random.default_rng(seed)
    sys.stdout.write(f"seed {seed}\n")
    topics = {"rgb": session.rgb, "depth": session.depth, "info": session.info}
    for _ in range(1 if name == "huge" else 6):
        for one in sorted(spoilt(session, name, rng), key=lambda sent: sent.delay):
            topics[one.topic].publish(one.message)
        time.sleep(0.05)
    session.node.require_alive()


def test_an_encoding_of_a_megabyte_is_told_in_a_short_line(session: Session) -> None:
    stamp = session.peer.node.get_clock().now().nanoseconds
    session.rgb.publish(Image(header=header(stamp), encoding="y" * 10**6, height=1, width=1, step=1, data=[0]))
    session.depth.publish(image_message(MILLIMETRES, "16UC1", header(stamp)))
    session.node.wait_for("colour image has encoding 'yyyy")
    assert max(map(len, session.node.output.splitlines())) < 2000


def test_two_hundred_topics_of_noise_disturb_nobody(session: Session) -> None:
    node = session.peer.node
    publishers = [node.create_publisher(String, f"noise_{number}/rgb/image", 10) for number in range(200)]
    for publisher, _ in itertools.product(publishers, range(5)):
        publisher.publish(String(data="x" * 1000))
    session.exchange()
    for publisher in publishers:
        node.destroy_publisher(publisher)


def test_another_node_that_publishes_another_type_on_the_camera_s_topic_disturbs_nobody(session: Session) -> None:
    other = Peer(session.peer.context.get_domain_id())
    publisher = other.node.create_publisher(String, "/rgb/image", 10)
    for _ in range(5):
        publisher.publish(String(data="no image"))
        session.send()
    session.exchange()
    other.close()


def test_a_camera_that_is_killed_and_started_again_is_segmented_again(session: Session) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/soak_camera.py"), "1", "10", str(time.monotonic())]
    path = os.pathsep.join(sys.path)
    domain = session.peer.context.get_domain_id()
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONPATH": path}
    for _ in range(2):
        before = len(session.received["labels"])
        with subprocess.Popen(command, env=environment) as camera:
            wait_until(lambda before=before: len(session.received["labels"]) > before + 2, "its labels")
            camera.send_signal(signal.SIGKILL)


def test_a_subscriber_that_never_reads_holds_nobody_up(session: Session) -> None:
    code = (
        "import rclpy; from sensor_msgs.msg import Image; rclpy.init(); node = rclpy.create_node('never_reads');"
        "kept = node.create_subscription(Image, '/segmentation/labels', print, 1000); input()"
    )
    domain = session.peer.context.get_domain_id()
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE) as reader:
        wait_until(lambda: session.peer.node.count_subscribers("/segmentation/labels") == 2, "the second subscriber")
        stamp_list = [session.exchange().header.stamp for _ in range(8)]
        reader.communicate(b"\n")
    assert len({(stamp.sec, stamp.nanosec) for stamp in stamp_list}) == 8


def test_the_clock_may_become_a_simulated_one_jump_and_come_back(session: Session) -> None:
    clock = session.peer.node.create_publisher(Clock, "/clock", 10)
    assert session.set_parameter("use_sim_time", True).successful
    wait_until(clock.get_subscription_count, "the node to subscribe to /clock")
    for second in (100, 4000, 50):
        for _ in range(3):
            clock.publish(Clock(clock=header(second * 10**9).stamp))
            time.sleep(0.05)
        session.exchange()
    assert session.set_parameter("use_sim_time", False).successful
    assert "time has jumped" in session.node.output


@pytest.mark.parametrize("k", [[float("nan")] * 9, [0.0] * 9, [1e300] * 9, [-5.0] * 9])
def test_an_absurd_calibration_spoils_the_points_alone(k: list[float], session: Session) -> None:
    points = session.peer.listen(PointCloud2, "/segmentation/points")
    wait_until(lambda: session.peer.node.count_publishers("/segmentation/points"), "the topic")
    roi = RegionOfInterest(x_offset=2**32 - 1, y_offset=7)
    for _ in range(3):
        stamp = session.peer.node.get_clock().now().nanoseconds
        session.info.publish(CameraInfo(header=header(stamp), height=180, width=320, k=k, roi=roi))
        session.rgb.publish(image_message(RAMP, "rgb8", header(stamp)))
        session.depth.publish(image_message(MILLIMETRES, "16UC1", header(stamp)))
        time.sleep(0.2)
    session.node.require_alive()
    assert all(len(cloud.data) == cloud.row_step * cloud.height for cloud in points)


def test_a_calibration_that_comes_late_is_published_from_then_on(session: Session) -> None:
    stamp = session.peer.node.get_clock().now().nanoseconds
    session.rgb.publish(image_message(RAMP, "rgb8", header(stamp)))
    session.depth.publish(image_message(MILLIMETRES, "16UC1", header(stamp)))
    session.exchange("camera_info")


def test_an_honest_image_beyond_the_limit_is_refused_and_within_a_new_limit_served(session: Session) -> None:
    status = session.peer.listen(DiagnosticArray, "/diagnostics")

    def refused() -> bool:
        session.send()
        time.sleep(0.1)
        values = {one.key: one.value for one in status[-1].status[0].values} if status else {}
        return "320x180 pixels: at most 57599 are taken" in values.get("last lost frame", "")

    assert session.set_parameter("max_pixels", 320 * 180 - 1).successful
    try:
        wait_until(refused, "the refusal")
    finally:
        assert session.set_parameter("max_pixels", 320 * 180).successful
    session.exchange()


def test_a_backend_that_was_asked_for_is_no_fallback(session: Session) -> None:
    status = session.peer.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: status, "diagnostics")
    values = {one.key: one.value for one in status[-1].status[0].values}
    assert values["backend"] == "onnxruntime cpu fp32"
    assert "fallback" not in values
