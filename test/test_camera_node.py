"""The camera node as a process of its own, over real DDS."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from ros_harness import Peer, RosProcess, free_domain, stamps, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.node import camera_node
from asymformer_ros.node.conversions import image_message
from asymformer_ros.node.fastdds import large_message_environment, shared_file

pytestmark = pytest.mark.ros
MODULE = "asymformer_ros.node.camera_node"


class CameraRun:
    """A camera node and a peer that hears its three topics."""

    def __init__(self, *parameters: str, namespace: str = "", qos: QoSProfile = qos_profile_sensor_data) -> None:
        domain = free_domain()
        self.peer = Peer(domain)
        self.rgb = self.peer.listen(Image, f"{namespace}/rgb/image", qos)
        self.depth = self.peer.listen(Image, f"{namespace}/depth/image", qos)
        self.info = self.peer.listen(CameraInfo, f"{namespace}/rgb/camera_info", qos)
        options = [option for parameter in parameters for option in ("-p", parameter)]
        remaps = ["-r", f"__ns:={namespace}"] if namespace else []
        self.process = RosProcess(MODULE, *options, *remaps, domain=domain)

    def wait_for(self, frames: int) -> None:
        topics = (self.rgb, self.depth, self.info)
        wait_until(lambda: min(map(len, topics)) >= frames or not self.process.require_alive(), f"{frames} frames")

    def matching(self) -> list[tuple[Image, Image, CameraInfo]]:
        """What came with one stamp: each topic is discovered at its own time, so the first ones need not match."""
        by_stamp = [
            {stamps([message])[0]: message for message in messages} for messages in (self.rgb, self.depth, self.info)
        ]
        common = sorted(set.intersection(*map(set, by_stamp)))
        return [(by_stamp[0][stamp], by_stamp[1][stamp], by_stamp[2][stamp]) for stamp in common]

    def close(self) -> None:
        self.process.kill()
        self.peer.close()


@pytest.fixture
def start() -> Iterator[Any]:
    runs: list[CameraRun] = []

    def start_run(*parameters: str, **options: Any) -> CameraRun:
        runs.append(CameraRun(*parameters, **options))
        return runs[-1]

    yield start_run
    for run in runs:
        run.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Four frames whose depth holds their number."""
    for number in range(4):
        rgb = np.zeros((12, 16, 3), np.uint8)
        rgb[:, :] = (10 * number, 100, 200)
        depth = np.full((12, 16), 1000 + number, np.uint16)
        depth[0, 0] = 0
        cv2.imwrite(str(tmp_path / f"frame-{number:06d}.color.png"), rgb[..., ::-1])
        cv2.imwrite(str(tmp_path / f"frame-{number:06d}.depth.png"), depth)
    (tmp_path / "camera-intrinsics.txt").write_text("20 0 8\n0 21 6\n0 0 1\n")
    return tmp_path


def pixels(message: Image, dtype: str) -> np.ndarray:
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, -1)


def test_the_simulated_camera_publishes_matching_colour_depth_and_info(start: Any) -> None:
    run = start("width:=64", "height:=48", "seed:=5")
    wait_until(run.matching, "colour, depth and info of one stamp")
    rgb, depth, info = run.matching()[0]
    assert (rgb.encoding, rgb.height, rgb.width, rgb.step, rgb.is_bigendian) == ("rgb8", 48, 64, 192, 0)
    assert (depth.encoding, depth.height, depth.width, depth.step) == ("16UC1", 48, 64, 128)
    assert rgb.header == depth.header == info.header
    assert rgb.header.frame_id == "camera_color_optical_frame"
    assert rgb.header.stamp.sec > 0
    assert len(rgb.data) == 48 * 192
    millimetres = pixels(depth, "<u2")
    known = millimetres[millimetres > 0]
    assert known.size > millimetres.size / 4
    assert known.min() > 50
    assert known.max() < 20_000


def test_the_truth_is_that_of_the_colour_image_of_its_stamp(start: Any) -> None:
    from asymformer_ros.simulation.live import LiveWorld

    run = start("width:=64", "height:=48", "seed:=5", "rate:=5")
    truths = run.peer.listen(Image, "/truth/labels", qos_profile_sensor_data)
    wait_until(lambda: set(stamps(truths)) & set(stamps(run.rgb)), "colour and truth of one stamp")
    images = {stamps([message])[0]: message for message in list(run.rgb)}
    truth = next(message for message in list(truths) if stamps([message])[0] in images)
    rgb = images[stamps([truth])[0]]
    assert truth.header == rgb.header
    assert (truth.encoding, truth.height, truth.width, truth.step) == ("mono8", 48, 64, 64)
    camera = LiveWorld(Intrinsics.typical(64, 48), rate=5, seed=5)
    frames = (camera.frame(index) for index in range(60))
    frame = next(frame for frame in frames if (frame.rgb == pixels(rgb, "u1")).all())
    np.testing.assert_array_equal(pixels(truth, "u1")[..., 0], frame.labels)
    assert frame.labels is not None
    assert len(np.unique(frame.labels)) > 1


def test_a_subscriber_of_the_truth_alone_wakes_the_camera() -> None:
    domain = free_domain()
    peer = Peer(domain)
    truths = peer.listen(Image, "/truth/labels", qos_profile_sensor_data)
    process = RosProcess(MODULE, "-p", "width:=32", "-p", "height:=24", domain=domain)
    wait_until(lambda: len(truths) >= 2 or not process.require_alive(), "two truths")
    (publisher,) = peer.node.get_publishers_info_by_topic("/truth/labels")
    assert publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    process.kill()
    peer.close()


def test_truth_without_subscribers_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def note(image: np.ndarray, encoding: str, header: Header) -> Image:
        made.append(encoding)
        return image_message(image, encoding, header)

    monkeypatch.setattr(camera_node, "image_message", note)
    domain = free_domain()
    peer = Peer(domain)
    peer.listen(Image, "/rgb/image", qos_profile_sensor_data)
    rclpy.init(args=["--ros-args", "-p", "width:=32", "-p", "height:=24"], domain_id=domain)
    node = camera_node.CameraNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    wait_until(lambda: executor.spin_once(timeout_sec=0.1) or made.count("rgb8") >= 3, "three colour images")
    assert set(made) == {"rgb8", "16UC1"}
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
    peer.close()


def test_a_recording_has_no_truth(start: Any, recording: Path) -> None:
    run = start("source:=folder", f"folder:={recording}")
    run.wait_for(2)
    assert run.peer.node.count_publishers("/truth/labels") == 0


def test_without_the_ray_caster_a_recording_plays_and_the_simulation_is_refused_in_one_line(
    start: Any, recording: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path_factory.mktemp("absent")
    for library in ("trimesh", "embreex"):
        (absent / f"{library}.py").write_text(f"raise ModuleNotFoundError('No module named {library}')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(absent), os.environ.get("PYTHONPATH", "")]))
    start("source:=folder", f"folder:={recording}").wait_for(2)
    process = RosProcess(MODULE, domain=free_domain())
    assert process.wait() == 1
    assert len(process.output.strip().splitlines()) == 1, process.output
    assert "needs trimesh" in process.output
    assert "pip install" in process.output


def test_camera_info_describes_the_pinhole_camera(start: Any) -> None:
    run = start("width:=100", "height:=80")
    run.wait_for(1)
    info = run.info[0]
    assert (info.width, info.height, info.distortion_model) == (100, 80, "plumb_bob")
    assert list(info.d) == [0.0] * 5
    assert list(info.k) == [90, 0, 49.5, 0, 90, 39.5, 0, 0, 1]
    assert list(info.p) == [90, 0, 49.5, 0, 0, 90, 39.5, 0, 0, 0, 1, 0]
    assert list(info.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_depth_can_be_float_metres_with_nan_for_unknown(start: Any, recording: Path) -> None:
    run = start("source:=folder", f"folder:={recording}", "depth_encoding:=32FC1")
    run.wait_for(1)
    depth = pixels(run.depth[0], "<f4")[..., 0]
    assert run.depth[0].encoding == "32FC1"
    assert np.isnan(depth[0, 0])
    assert 0.9999 < depth[1, 1] < 1.0032


def test_a_recording_is_published_as_it_was_recorded_and_loops(start: Any, recording: Path) -> None:
    run = start("source:=folder", f"folder:={recording}", "rate:=100", "reliability:=reliable")
    run.wait_for(9)
    numbers = [int(pixels(message, "<u2")[1, 1, 0]) - 1000 for message in run.depth[:9]]
    assert numbers == [(numbers[0] + step) % 4 for step in range(9)]
    reds = [int(pixels(message, "u1")[1, 1, 0]) for message in run.rgb[:9]]
    assert reds == [(reds[0] // 10 + step) % 4 * 10 for step in range(9)]
    assert pixels(run.rgb[0], "u1")[0, 0, 1:].tolist() == [100, 200]
    assert list(run.info[0].k) == [20, 0, 8, 0, 21, 6, 0, 0, 1]


def test_a_recording_without_loop_ends_with_code_0(start: Any, recording: Path) -> None:
    run = start("source:=folder", f"folder:={recording}", "loop:=false")
    assert run.process.wait() == 0
    assert "the recording is over" in run.process.output
    assert len(run.rgb) <= 4


def test_a_guessed_camera_matrix_is_said(start: Any, recording: Path) -> None:
    (recording / "camera-intrinsics.txt").unlink()
    run = start("source:=folder", f"folder:={recording}")
    run.process.wait_for("camera-intrinsics.txt.*guess")


def test_a_duration_ends_the_node_with_code_0_also_without_subscribers() -> None:
    process = RosProcess(MODULE, "-p", "duration:=0.5", domain=free_domain())
    assert process.wait() == 0
    assert "the duration is over" in process.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_quietly_with_code_0(start: Any, number: int) -> None:
    run = start("rate:=200", "width:=32", "height:=24")
    run.wait_for(5)
    assert run.process.stop(number) == 0
    assert "Traceback" not in run.process.output


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (["source:=folder", "folder:=/no/such/recording"], "no folder '/no/such/recording'"),
        (["source:=folder"], "set parameter folder"),
        (["source:=webcam"], "expected one of sim, folder"),
        (["rate:=-1"], "frames a second"),
        (["rate:=fast"], "expected a float"),
        (["width:=0"], "at least 1x1"),
        (["width:=64.5"], "expected a int"),
        (["depth_holes:=2.0"], "between 0 and 1"),
        (["reliability:=sometimes"], "best_effort, reliable"),
        (["depth_encoding:=mono8"], "16UC1, 32FC1"),
        (["stamp_jitter:=-1.0"], "must not be below 0"),
    ],
)
def test_a_mistake_is_one_line_and_code_1(parameters: list[str], says: str) -> None:
    options = [option for parameter in parameters for option in ("-p", parameter)]
    process = RosProcess(MODULE, *options, domain=free_domain())
    assert process.wait() == 1
    lines = process.output.strip().splitlines()
    assert len(lines) == 1, process.output
    assert says in lines[0]


def test_a_damaged_later_frame_ends_the_node_with_its_name(start: Any, recording: Path) -> None:
    (recording / "frame-000002.color.png").write_bytes(b"broken")
    run = start("source:=folder", f"folder:={recording}")
    assert run.process.wait() == 1
    assert "frame-000002.color.png' is not a readable image" in run.process.output
    assert "Traceback" not in run.process.output


def test_jitter_moves_the_depth_stamp_within_its_limit(start: Any) -> None:
    run = start("width:=32", "height:=24", "stamp_jitter:=0.004", "rate:=50", "reliability:=reliable")
    run.wait_for(20)
    depth = np.array(stamps(run.depth[5:15]))
    wait_until(lambda: stamps(run.rgb)[-1] > depth[-1], "the colour images of these depth images")
    rgb = np.array(stamps(run.rgb))
    offsets = depth - rgb[np.abs(depth[:, None] - rgb).argmin(axis=1)]
    assert 0 < np.abs(offsets).max() <= 4_000_000
    assert len(set(offsets)) > 5
    assert set(stamps(run.info)) & set(stamps(run.rgb))


def test_holes_and_noise_reach_the_topics(start: Any) -> None:
    run = start("width:=120", "height:=96", "depth_holes:=0.3", "pixel_noise:=6.0")
    run.wait_for(2)
    share = np.mean([(pixels(message, "<u2") == 0).mean() for message in run.depth])
    assert 0.1 < share < 0.5


@pytest.mark.parametrize("reliability", ["reliable", "best_effort"])
def test_the_reliability_is_the_one_asked_for(start: Any, reliability: str) -> None:
    run = start("width:=32", "height:=24", f"reliability:={reliability}")
    run.wait_for(1)
    for topic in ("/rgb/image", "/depth/image", "/rgb/camera_info"):
        (publisher,) = run.peer.node.get_publishers_info_by_topic(topic)
        assert publisher.qos_profile.reliability == ReliabilityPolicy[reliability.upper()]


def test_a_namespace_moves_all_topics(start: Any) -> None:
    run = start("width:=32", "height:=24", "frame_id:=left", namespace="/robot")
    run.wait_for(1)
    assert run.rgb[0].header.frame_id == "left"


def test_stamps_increase(start: Any) -> None:
    run = start("width:=32", "height:=24", "rate:=100")
    run.wait_for(10)
    taken = stamps(run.rgb)
    assert taken == sorted(set(taken))


def test_stamps_follow_simulated_time(start: Any) -> None:
    run = start("width:=32", "height:=24", "rate:=10", "use_sim_time:=true")
    clock = run.peer.node.create_publisher(Clock, "/clock", 10)

    def tick(count: Iterator[int] = itertools.count(1000)) -> bool:  # noqa: B008
        seconds, tenths = divmod(next(count), 10)
        clock.publish(Clock(clock=Time(sec=seconds, nanosec=tenths * 100_000_000)))
        time.sleep(0.05)
        return len(run.rgb) >= 3

    wait_until(tick, "frames in simulated time")
    assert all(100 <= message.header.stamp.sec < 1000 for message in run.rgb)


def test_a_whole_camera_image_arrives_through_the_package_s_profile(start: Any, rendered: Path) -> None:
    run = start("source:=folder", f"folder:={rendered}")
    run.wait_for(5)
    assert (run.rgb[0].width, run.rgb[0].height) == (640, 480)
    assert run.info[0].k[0] == 576


def test_the_profile_is_added_unless_the_user_has_chosen() -> None:
    file = str(shared_file("config/fastdds_shm.xml"))
    assert large_message_environment({}) == {"FASTDDS_DEFAULT_PROFILES_FILE": file}
    assert large_message_environment({"ROS_DISTRO": "jazzy"}) == {"FASTRTPS_DEFAULT_PROFILES_FILE": file}
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"):
        assert large_message_environment({name: "mine"}) == {}


def test_fast_dds_accepts_the_profile_without_complaint(tmp_path: Path) -> None:
    code = "import rclpy; rclpy.init(); rclpy.create_node('probe'); rclpy.shutdown()"
    environment = {**os.environ, "FASTDDS_DEFAULT_PROFILES_FILE": str(shared_file("config/fastdds_shm.xml"))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "XML" not in done.stdout + done.stderr
