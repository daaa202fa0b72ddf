"""The segmentation node as users meet it: a process of its own, over real DDS."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("torch", reason="the torch backend serves in these tests")
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_session import MILLIMETRES, RAMP, Session
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import free_domain, header, stamps, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from asymformer_ros.engine.driver import GpuInfo, probe_gpu
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.segmenter import Segmenter

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def session(start_peer: Any, start_node: Any) -> Session:
    """One node with default parameters, shared by the tests that leave it as it was."""
    peer, domain = start_peer()
    return Session(peer, start_node(domain)).listen().connected()


@pytest.fixture(scope="module")
def expected() -> Any:
    """What the same model answers without ROS."""
    backend = open_backend("torch", "untrained", "cpu")
    frame = RgbdFrame(RAMP, metres_from_millimetres(MILLIMETRES))
    return Segmenter(backend).segment(frame, with_confidence=True), backend.card.label_set


def pixels(message: Image) -> np.ndarray:
    channels = {"mono8": 1, "rgb8": 3}[message.encoding]
    return np.asarray(message.data, dtype=np.uint8).reshape(message.height, message.width, channels).squeeze()


def test_every_output_carries_the_colour_header_and_the_right_content(session: Session, expected: Any) -> None:
    segmentation, label_set = expected
    answer = session.exchange_all()
    assert {message.header.frame_id for message in answer.values()} == {"camera_color_optical_frame"}
    encodings = {name: answer[name].encoding for name in ("labels", "color", "overlay", "confidence")}
    assert encodings == {"labels": "mono8", "color": "rgb8", "overlay": "rgb8", "confidence": "mono8"}
    assert pixels(answer["labels"]).shape == RAMP.shape[:2]
    assert np.mean(pixels(answer["labels"]) == segmentation.labels) > 0.999
    assert np.mean(np.abs(pixels(answer["confidence"]).astype(int) - segmentation.confidence) <= 1) > 0.999
    color = label_set.color_table[pixels(answer["labels"])]
    np.testing.assert_array_equal(pixels(answer["color"]), color)
    np.testing.assert_allclose(pixels(answer["overlay"]).astype(int), (color / 2 + RAMP / 2), atol=1)
    assert list(answer["camera_info"].k) == [5.0] * 9
    assert (answer["camera_info"].width, answer["camera_info"].height) == (320, 180)


def test_the_summary_tells_what_the_label_image_shows(session: Session, expected: Any) -> None:
    label_set = expected[1]
    answer = session.exchange_all()
    summary, labels = answer["summary"], pixels(answer["labels"])
    metres = metres_from_millimetres(MILLIMETRES)
    assert [entry.id for entry in summary.classes] == [
        label for label in np.argsort(-np.bincount(labels.ravel()), kind="stable") if (labels == label).any()
    ]
    for entry in summary.classes:
        rows, columns = np.nonzero(labels == entry.id)
        assert entry.name == label_set.names[entry.id]
        assert entry.pixel_fraction == pytest.approx(len(rows) / labels.size)
        assert (entry.centroid_x, entry.centroid_y) == pytest.approx((columns.mean(), rows.mean()), rel=1e-4)
        distances = metres[rows, columns]
        nearest = np.nan if np.isnan(distances).all() else np.nanmin(distances)
        assert entry.nearest_distance == pytest.approx(nearest, nan_ok=True)
        assert 0 < entry.mean_confidence <= 1
    assert (summary.model, summary.backend) == ("untrained", "torch cpu fp32")
    assert summary.unlabelled_fraction == pytest.approx(0, abs=1e-6)
    assert 0 < summary.inference_ms < summary.age_ms


def test_other_colour_encodings_give_the_same_labels(session: Session, expected: Any) -> None:
    answer = session.exchange(rgb=RAMP[..., ::-1], encoding="bgr8")
    assert np.mean(pixels(answer) == expected[0].labels) > 0.999


def test_a_bad_message_is_said_once_and_counted_and_the_next_frame_is_served(session: Session) -> None:
    for _ in range(5):
        session.send(encoding="8UC7")
        time.sleep(0.1)
    session.node.wait_for("frame refused: colour image has encoding '8UC7': expected rgb8")
    session.exchange()
    assert session.node.output.count("8UC7") == 1
    assert "Traceback" not in session.node.output
    status = session.peer.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: status, "diagnostics")
    values = {value.key: value.value for value in status[0].status[0].values}
    assert int(values["frames refused"]) >= 1
    assert values["backend"] == "torch cpu fp32"
    assert "PyTorch runs on the CPU" in values["fallback"]
    assert re.fullmatch(r"[\d.]+ / [\d.]+ / [\d.]+", values["age p50/p95/p99 (ms)"])


def test_dynamic_parameters_take_effect_at_once(session: Session) -> None:
    try:
        assert session.set_parameter("overlay_alpha", 0.0).successful
        overlay = session.exchange("overlay")
        np.testing.assert_array_equal(pixels(overlay), RAMP)
        assert session.set_parameter("min_confidence", 1.0).successful
        assert (pixels(session.exchange("labels")) == 255).all()
        summary = session.exchange("summary")
        assert (summary.unlabelled_fraction, list(summary.classes)) == (1.0, [])
        assert (pixels(session.exchange("color")) == 0).all()
    finally:
        session.set_parameter("overlay_alpha", 0.5)
        session.set_parameter("min_confidence", 0.0)
    assert (pixels(session.exchange("labels")) != 255).all()
    refused = session.set_parameter("overlay_alpha", 3.0)
    assert not refused.successful


def test_smoothing_over_time_is_set_at_run_time_and_told(session: Session) -> None:
    status = session.peer.listen(DiagnosticArray, "/diagnostics")

    def told() -> str:
        session.exchange()
        return {value.key: value.value for value in status[-1].status[0].values}["temporal smoothing"] if status else ""

    wait_until(lambda: told() == "on", "smoothing in the diagnostics")
    try:
        assert session.set_parameter("temporal_smoothing", False).successful
        wait_until(lambda: told() == "off", "no smoothing in the diagnostics")
    finally:
        session.set_parameter("temporal_smoothing", True)


def test_a_disabled_node_is_silent_and_an_enabled_one_goes_on(session: Session) -> None:
    session.exchange()
    assert session.set_parameter("enabled", False).successful
    time.sleep(1.0)
    before = len(session.received["labels"])
    for _ in range(5):
        session.send()
        time.sleep(0.1)
    assert len(session.received["labels"]) == before
    assert session.set_parameter("enabled", True).successful
    session.exchange()


def test_nothing_older_than_max_age_is_published(session: Session) -> None:
    assert session.set_parameter("max_age", 5.0).successful
    try:
        old = session.peer.node.get_clock().now().nanoseconds - 60 * 10**9
        session.send(stamp_ns=old)
        session.node.wait_for(r"frame stale: it was 6\d\.\d\d s old before inference and max_age is 5.00 s")
        session.exchange()
        assert old not in stamps(session.received["labels"])
    finally:
        session.set_parameter("max_age", 0.0)


def test_a_bag_that_jumps_back_in_time_goes_on(session: Session) -> None:
    for second in (5000, 5001, 1000, 1001):

        def served(stamp: int = second * 10**9) -> bool:
            session.send(stamp_ns=stamp)
            time.sleep(0.3)
            return stamp in stamps(session.received["labels"])

        wait_until(served, f"labels of second {second} of the bag")


def test_size_and_mismatched_calibration_follow_the_camera(session: Session) -> None:
    wide = cv2.resize(RAMP, (640, 360))
    answer = session.exchange(rgb=wide)
    assert (answer.width, answer.height, answer.step) == (640, 360, 640)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_node_in_the_midst_of_work_with_code_0(
    start_peer: Any, start_node: Any, signal_number: int
) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain)).listen("labels").connected()
    session.exchange()
    session.send()
    assert session.node.stop(signal_number) == 0
    assert "Traceback" not in session.node.output


@pytest.mark.parametrize(
    ("arguments", "model", "told"),
    [
        ((), "/nowhere/model.safetensors", "/nowhere/model.safetensors"),
        (("-p", "backend:=tensorflow"), "untrained", "parameter backend is 'tensorflow': expected one of auto"),
        (("-p", "slop:=soon"), "untrained", "parameter slop"),
        (("-p", "backend:=tensorrt"), "untrained", "no engine can run here: no NVIDIA driver"),
        (("-p", "device:=cuda", "-p", "backend:=torch"), "untrained", "no CUDA device can be used"),
        (("--params-file", "/nowhere/segment.yaml"), "untrained", "/nowhere/segment.yaml"),
        (("-p", "label_groups:=/nowhere/groups.yaml"), "untrained", "label groups /nowhere/groups.yaml: "),
    ],
)
def test_a_mistake_at_start_is_told_without_a_traceback_and_gives_code_1(
    start_node: Any, arguments: tuple[str, ...], model: str, told: str
) -> None:
    if {"device:=cuda", "backend:=tensorrt"} & set(arguments) and isinstance(probe_gpu(), GpuInfo):
        pytest.skip("this machine has a GPU")
    node = start_node(free_domain(), *arguments, model=model)
    assert node.wait() == 1
    assert told in node.output
    assert "Traceback" not in node.output


def change_state(session: Session, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(session.peer.call(ChangeState, "/segmentation_node/change_state", request).success)


def state(session: Session) -> int:
    return int(session.peer.call(GetState, "/segmentation_node/get_state", GetState.Request()).current_state.id)


def test_a_lifecycle_manager_takes_the_node_through_every_state_twice(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, "-p", "autostart:=false")).listen("labels")
    assert state(session) == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):
        assert change_state(session, Transition.TRANSITION_CONFIGURE)
        assert state(session) == State.PRIMARY_STATE_INACTIVE
        assert session.rgb.get_subscription_count() == 0
        assert change_state(session, Transition.TRANSITION_ACTIVATE)
        session.connected().exchange()
        assert change_state(session, Transition.TRANSITION_DEACTIVATE)
        wait_until(lambda: session.rgb.get_subscription_count() == 0, "the camera to be released")
        assert change_state(session, Transition.TRANSITION_CLEANUP)
        wait_until(lambda: peer.node.count_publishers("/segmentation/labels") == 0, "the outputs to go")
    assert session.node.stop() == 0


def test_a_model_that_cannot_be_loaded_leaves_a_managed_node_unconfigured(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, "-p", "autostart:=false", model="/nowhere.safetensors"))
    assert not change_state(session, Transition.TRANSITION_CONFIGURE)
    assert state(session) == State.PRIMARY_STATE_UNCONFIGURED
    assert "/nowhere.safetensors" in session.node.wait_for("ERROR")
    assert session.node.stop() == 0


def test_two_nodes_run_side_by_side_in_namespaces_with_remapped_inputs(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    front = Session(peer, start_node(domain, "-r", "__ns:=/front"), "/front").listen("labels")
    inputs = [("-r", f"{name}:=/front/{name}") for name in ("rgb/image", "depth/image")]
    start_node(domain, "-r", "__ns:=/rear", *inputs[0], *inputs[1])
    rear = peer.listen(Image, "/rear/segmentation/labels")
    front.connected()
    wait_until(lambda: peer.node.count_publishers("/rear/segmentation/labels"), "the other node")
    wait_until(lambda: front.rgb.get_subscription_count() == 2, "both nodes at one camera")
    wait_until(lambda: front.exchange() and rear, "labels of both nodes")
    assert front.node.stop() == 0


def test_one_node_serves_several_cameras_and_one_that_stops_does_not_stop_the_rest(
    start_peer: Any, start_node: Any, expected: Any
) -> None:
    peer, domain = start_peer()
    node = start_node(domain, "-p", "cameras:=[front, rear]")
    front, rear = (
        Session(peer, node, f"/{name}").listen("labels", "summary").connected() for name in ("front", "rear")
    )

    sent = []

    def both_served() -> bool:
        sent.append(front.send())
        rear.send(rgb=RAMP[:, ::-1], stamp_ns=sent[-1])
        time.sleep(0.3)
        return bool(front.received["labels"] and rear.received["labels"])

    wait_until(both_served, f"labels of both cameras; the node said:\n{node.output}")
    assert np.mean(pixels(front.exchange()) == expected[0].labels) > 0.999
    assert len(rear.received["labels"]) <= len(sent)
    assert np.mean(pixels(rear.received["labels"][-1]) == expected[0].labels) < 0.999
    status = peer.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: status, "diagnostics")
    names = [one.name for one in status[-1].status]
    assert names == ["/segmentation_node: segmentation front", "/segmentation_node: segmentation rear"]
    assert node.stop() == 0


def test_compressed_transports_follow_the_remapped_base_topic(start_peer: Any, start_node: Any, expected: Any) -> None:
    peer, domain = start_peer()
    node = start_node(
        domain,
        *("-p", "image_transport:=compressed", "-p", "depth_image_transport:=compressedDepth"),
        *("-r", "rgb/image:=/cam/color", "-r", "depth/image:=/cam/depth"),
    )
    rgb = peer.advertise(CompressedImage, "/cam/color/compressed")
    depth = peer.advertise(CompressedImage, "/cam/depth/compressedDepth")
    labels = peer.listen(Image, "/segmentation/labels")
    wait_until(lambda: rgb.get_subscription_count() and depth.get_subscription_count(), "subscriptions")
    wait_until(lambda: peer.node.count_publishers("/segmentation/labels"), "labels to be advertised")

    def served() -> bool:
        sent = header(peer.node.get_clock().now().nanoseconds)
        png = bytes(12) + cv2.imencode(".png", MILLIMETRES)[1].tobytes()
        depth.publish(CompressedImage(header=sent, format="16UC1; compressedDepth png", data=png))
        colour = cv2.imencode(".png", RAMP[..., ::-1])[1].tobytes()
        rgb.publish(CompressedImage(header=sent, format="rgb8; png compressed bgr8", data=colour))
        time.sleep(0.3)
        return bool(labels)

    wait_until(served, f"labels; the node said:\n{node.output}")
    assert np.mean(pixels(labels[-1]) == expected[0].labels) > 0.999


def test_without_a_subscriber_nothing_is_computed(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain)).connected()
    status = peer.listen(DiagnosticArray, "/diagnostics")
    for _ in range(10):
        session.send()
        time.sleep(0.1)
    wait_until(lambda: len(status) > 2, "diagnostics")
    values = {value.key: value.value for value in status[-1].status[0].values}
    assert float(values["pair rate (Hz)"]) > 0
    assert values["frames published"] == "0"
    assert "inference p50/p95/p99 (ms)" not in values


def test_the_camera_is_left_while_nobody_subscribes_and_taken_again_for_a_subscriber(
    start_peer: Any, start_node: Any
) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain)).connected()
    status = peer.listen(DiagnosticArray, "/diagnostics")
    inputs = (session.rgb, session.depth, session.info)
    wait_until(lambda: not any(topic.get_subscription_count() for topic in inputs), "the camera to be left")
    status.clear()
    wait_until(lambda: len(status) > 3, "diagnostics")
    assert status[-1].status[0].message == "idle, nobody subscribes to an output"
    session.listen("labels").connected().exchange()
    wait_until(lambda: session.send() and status[-1].status[0].message == "segmenting", "the idle finding to end")
    assert "silent" not in session.node.output


def test_simulated_time_counts_the_age_and_its_jump_back_is_survived(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, "-p", "use_sim_time:=true", "-p", "max_age:=30.0")).listen("labels")
    clock = peer.node.create_publisher(Clock, "/clock", 10)
    wait_until(clock.get_subscription_count, "the node to subscribe to /clock")
    session.connected()
    for start in (7000, 2000):

        def served(start: int = start) -> bool:
            for _ in range(5):  # best effort: the first ones may come before the node hears this publisher
                clock.publish(Clock(clock=header(start * 10**9).stamp))
                time.sleep(0.1)
            session.send(stamp_ns=start * 10**9)
            time.sleep(0.3)
            return start * 10**9 in stamps(session.received["labels"])

        wait_until(served, f"labels at simulated time {start}; the node said:\n{session.node.output}")
    assert "time has jumped" in session.node.output


def test_the_class_names_are_latched_for_whoever_comes_later(start_peer: Any, start_node: Any, expected: Any) -> None:
    vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs comes with a ROS installation only")
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, "-p", "min_confidence:=0.25")).listen("labels").connected()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    received = peer.listen(vision_msgs.LabelInfo, "/segmentation/label_info", latched)
    wait_until(lambda: received, "label_info")
    names = {entry.class_id: entry.class_name for entry in received[0].class_map}
    assert names == dict(enumerate(expected[1].names))
    assert received[0].threshold == 0.25
    assert session.node.stop() == 0


@pytest.mark.slow
def test_the_engine_takes_over_and_its_failure_costs_no_frame(
    start_peer: Any, start_node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the engine is really built, which needs no GPU")
    if isinstance(probe_gpu(), GpuInfo):
        pytest.skip("with a GPU the engine itself is tested")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peer, domain = start_peer()
    node = start_node(domain, "-p", f"engine_cache:={tmp_path}", module="node_with_stand_in_engine")
    session = Session(peer, node).listen("summary")
    status = peer.listen(DiagnosticArray, "/diagnostics")
    session.connected().exchange("summary")
    served: list[Any] = []
    while "device lost" not in node.output:
        stamp = session.send()
        wait_until(lambda wanted=stamp: wanted in stamps(session.received["summary"]), "the summary of each frame")
        served.append(session.received["summary"][-1])
    backends = [summary.backend for summary in served]
    assert backends[0] == backends[-1] == "torch cpu fp32"
    assert backends.count("stand-in engine") == 5
    assert any(summary.engine.startswith("building: ") for summary in served)
    assert served[-1].engine.startswith("failed, the next try is in 10 s")
    assert node.output.count("device lost: torch cpu fp32 serves, the next try is in 10 s") == 1
    wait_until(lambda: "failed" in {v.key: v.value for v in status[-1].status[0].values}["engine"], "diagnostics")
    assert node.stop() == 0
