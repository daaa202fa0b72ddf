"""The sync doctor of a real node: cameras with one fault each, all at once, and what it says of each of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("torch", reason="the torch backend serves in these tests")
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from ros_harness import Peer, RosProcess, free_domain, header, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from asymformer_ros.cli.main import main
from asymformer_ros.node.conversions import image_message

pytestmark = pytest.mark.ros

RGB = np.full((24, 32, 3), 90, np.uint8)
DEPTH = np.full((24, 32), 1500, np.uint16)
RATE = 10.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SECOND = 10**9


@dataclass
class Tick:
    """One moment at which every camera publishes: its number and the time."""

    number: int
    now: int


@dataclass(frozen=True)
class Shot:
    """What a camera publishes at one moment; None is nothing. Stamps: nanoseconds after the moment, or fixed."""

    rgb: np.ndarray | None = field(default_factory=lambda: RGB)
    depth: np.ndarray | None = field(default_factory=lambda: DEPTH)
    encodings: tuple[str, str] = ("rgb8", "16UC1")
    late: tuple[int, int] = (0, 0)
    fixed: tuple[int | None, int | None] = (None, None)
    frames: tuple[str, str] = ("camera", "camera")


SOUND = Shot()
SHOTS: dict[str, Callable[[int], Shot]] = {
    "sound": lambda number: SOUND,
    "silent": lambda number: Shot(depth=None),
    "stopped": lambda number: Shot(depth=DEPTH if number < 20 else None),
    "zero": lambda number: Shot(fixed=(0, 0)),
    "negative": lambda number: Shot(fixed=(None, -400_000_000)),
    "same": lambda number: Shot(fixed=(1_700_000_000 * SECOND, None)),
    "order": lambda number: Shot(late=(-SECOND * (number % 2), 0)),
    "apart": lambda number: Shot(late=(0, -3600 * SECOND)),
    "behind": lambda number: Shot(late=(-3600 * SECOND, -3600 * SECOND)),
    "ahead": lambda number: Shot(late=(3 * SECOND, 3 * SECOND)),
    "aged": lambda number: Shot(late=(-7 * SECOND, -7 * SECOND)),
    "slow": lambda number: Shot(late=(0, -1_400_000_000)),
    "offset": lambda number: Shot(late=(0, 30_000_000)),
    "rates": lambda number: Shot(depth=DEPTH if number % 3 == 0 else None),
    "lossy": lambda number: SOUND if number % 8 in (0, 1, 2, 5) else Shot(rgb=None, depth=None),
    "swapped": lambda number: Shot(rgb=DEPTH, depth=RGB, encodings=("16UC1", "rgb8")),
    "odd": lambda number: Shot(encodings=("weird8", "16UC1")),
    "elsewhere": lambda number: Shot(frames=("camera", "depth_sensor")),
    "halved": lambda number: Shot(depth=DEPTH[::2, ::2]),
    "empty": lambda number: Shot(depth=DEPTH * 0),
    "unit": lambda number: Shot(depth=DEPTH.astype(np.float32), encodings=("rgb8", "32FC1")),
    "latched": lambda number: SOUND,
    "two": lambda number: SOUND,
}
"""What each camera publishes; those of NAMED that are not here publish something else, or nothing."""

NAMED: dict[str, tuple[str, str]] = {
    "absent": (
        "no-publisher-colour",
        r"nobody publishes /absent/rgb/image; Image topics there are: /\w+/rgb/image.*: remap",
    ),
    "typed": (
        "wrong-type-colour",
        "/typed/rgb/image is sensor_msgs/msg/PointCloud2, published by .*, and not sensor_msgs/msg/Im",
    ),
    "packed": (
        "only-compressed-colour",
        "only /packed/rgb/image/compressed is published, not /packed/rgb/image: set image_transport:=compressed",
    ),
    "qos": (
        "qos-depth",
        "/qos/depth/image of .* does not fit this subscription in its reliability: BEST_EFFORT is offered, RELIABLE is "
        "asked for: set qos_overrides./qos/depth/image.subscription.reliability:=best_effort",
    ),
    "silent": ("silent-depth", r".* publishes /silent/depth/image, but no depth image has come for \d+ s: look at"),
    "stopped": (
        "stopped-depth",
        r"depth images stopped [\d.]+ s ago \(.* Hz before\); .* still offers /stopped",
    ),
    "zero": ("zero-stamp-depth", "the stamps of depth are zero, so it cannot be paired by time: the driver must set"),
    "negative": ("negative-stamp-depth", r"depth image has a stamp below zero \(-0.400 s\)"),
    "same": ("same-stamp-colour", r"the last \d+ colour images have one stamp \(1700000000.000 s\): the driver"),
    "order": ("stamp-order-colour", r"the stamps of colour step back \d+ times in \d+ images: the driver"),
    "two": (
        "two-publishers-colour",
        r"2 nodes publish /two/rgb/image, and their images mix: /peer_\d+, /peer_\d+",
    ),
    "lossy": ("lost-colour", r"about \d+% of the colour images do not arrive: \d.\d Hz of at least .* Hz, 0.0 MB each"),
    "apart": ("clocks-apart", r"the stamps of depth are 36\d\d.\d s behind those of colour: no pair can form: let"),
    "behind": ("clock-behind", r"the stamps are 36\d\d.\d s behind this node's clock: a bag needs use_sim_time:=true"),
    "ahead": ("clock-ahead", r"the stamps are \d.\d s ahead of this node's clock: give the computers a common time"),
    "aged": ("too-old", r"images are \d.\d s old when they arrive and max_age is 5.0 s: raise max_age"),
    "slow": (
        "too-late",
        r"depth comes 1.4 s later than colour of the same stamp and pair_timeout is 1.0 s: .* set pair_timeout:=1.8",
    ),
    "offset": (
        "offset",
        r"the nearest colour and depth stamps are .* apart \(median .* ms\) and slop is 20 ms: .* set slop:=0.0\d\d",
    ),
    "rates": ("rates-differ", r"colour comes at .* Hz and depth at .* Hz: at most .* pairs a second: give both"),
    "same_topic": ("same-topic", "colour and depth are both taken from /same_topic/rgb/image: remap"),
    "swapped": ("swapped", "colour is 16UC1 on /swapped/rgb/image and depth is rgb8 on /swapped/depth/image: the two"),
    "odd": ("refused", "colour image has encoding 'weird8': expected rgb8"),
    "elsewhere": ("not-registered", "depth is in the frame 'depth_sensor' and colour in 'camera': depth that is not"),
    "halved": ("sizes-differ", "colour 32x24 and depth 16x12 differ in size: depth is brought to the size of colour"),
    "empty": ("depth-empty", r"depth is empty: no pixel of it is known \(0 or NaN everywhere\): is the depth sensor"),
    "unit": (
        "depth-unit",
        r"half of the depth image \(32FC1\) is farther than 1.5e\+03 m: its unit must be millim",
    ),
    "latched": (
        "latched-camera-info",
        r"no camera info has come from /latched/rgb/camera_info, which .* publishes once \(TRANSIENT_LOCAL\): set qos_",
    ),
}
"""What the node must say of each camera: the cause in /diagnostics, and the sentence there and in the log."""

UNTOLD = ("negative", "odd")
"""Their sentence is in the log as that of a refused frame, without the camera's name."""


class Cameras:
    """Publishes all that SHOTS says, ten times a second."""

    def __init__(self, peer: Peer, other: Peer) -> None:
        self.peer, self.other, self.number = peer, other, 0
        self.topics = {name: self.images(peer, name) for name in SHOTS}
        self.alone = {name: self.images(peer, name) for name in ("jumpy", "single")}
        self.second = other.advertise(Image, "/two/rgb/image")
        self.faults: list[Any] = [
            peer.advertise(PointCloud2, "/typed/rgb/image"),
            peer.advertise(CompressedImage, "/packed/rgb/image/compressed"),
            peer.node.create_publisher(Image, "/qos/depth/image", qos_profile_sensor_data),
        ]
        self.info = peer.node.create_publisher(CameraInfo, "/latched/rgb/camera_info", LATCHED)
        self.info.publish(CameraInfo(width=32, height=24))
        self.shots = dict(SHOTS)

    def images(self, peer: Peer, name: str) -> tuple[Any, Any]:
        return peer.advertise(Image, f"/{name}/rgb/image"), peer.advertise(Image, f"/{name}/depth/image")

    def publish(self) -> None:
        """One image of each camera's streams."""
        time.sleep(1 / RATE)
        now, self.number = self.peer.node.get_clock().now().nanoseconds, self.number + 1
        for name, topics in self.topics.items():
            shot = self.shots[name](self.number)
            for side, pixels in enumerate((shot.rgb, shot.depth)):
                if pixels is None:
                    continue
                fixed = shot.fixed[side]
                sent = header(now + shot.late[side] if fixed is None else fixed, shot.frames[side])
                topics[side].publish(image_message(pixels, shot.encodings[side], sent))
        if self.second is not None:
            self.second.publish(image_message(RGB, "rgb8", header(now - SECOND)))

    def mend(self) -> None:
        """Let every camera publish sound images on the right topics."""
        for publisher in self.faults:
            self.peer.node.destroy_publisher(publisher)
        self.other.node.destroy_publisher(self.second)
        self.second = None
        reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        for name in NAMED.keys() - self.topics.keys() - {"qos"}:
            self.topics[name] = self.images(self.other, name)
        self.topics["qos"] = (
            self.peer.advertise(Image, "/qos/rgb/image"),
            self.other.node.create_publisher(Image, "/qos/depth/image", reliable),
        )
        self.topics |= self.alone
        self.shots = dict.fromkeys(self.topics, SHOTS["sound"])


class Statuses:
    """The newest status of each camera."""

    def __init__(self, peer: Peer) -> None:
        self._messages = peer.listen(DiagnosticArray, "/diagnostics", 100)

    def newest(self) -> dict[str, DiagnosticStatus]:
        found = {status.name.split()[-1]: status for message in self._messages for status in message.status}
        self._messages[:] = self._messages[-1:]
        return found


@pytest.fixture(scope="module")
def started(start_peer: Any, start_node: Any) -> Iterator[tuple[Cameras, RosProcess, Statuses]]:
    """One node with a camera for each fault, and cameras that have it."""
    peer, domain = start_peer()
    other = Peer(domain)
    cameras = Cameras(peer, other)
    names = ", ".join(["sound", *cameras.alone, *NAMED])
    node = start_node(
        domain,
        *("-p", f"cameras:=[{names}]"),
        *("-p", "max_age:=5.0"),
        *("-p", "lazy:=false"),
        *("-p", "qos_overrides./qos/depth/image.subscription.reliability:=reliable"),
        *("-r", "same_topic/depth/image:=/same_topic/rgb/image"),
    )
    node.wait_for("segmenting /latched")
    topics = [topic for pair in (*cameras.topics.values(), *cameras.alone.values()) for topic in pair]
    wait_until(lambda: all(topic.get_subscription_count() for topic in topics), "subscriptions")
    yield cameras, node, Statuses(peer)
    other.close()


def test_each_fault_is_named_once_in_the_log_and_in_diagnostics_and_told_when_it_is_over(
    started: tuple[Cameras, RosProcess, Statuses],
) -> None:
    cameras, node, statuses = started
    seen: dict[str, dict[str, str]] = {name: {} for name in NAMED}

    def missing() -> list[str]:
        for name, status in statuses.newest().items():
            seen.setdefault(name, {}).update({value.key: value.value for value in status.values})
        lines = node.output.splitlines()
        return [
            name
            for name, (cause, sentence) in NAMED.items()
            if not re.search(sentence, seen[name].get(f"doctor: {cause}", ""))
            or not any(re.search(("" if name in UNTOLD else f"{name}: ") + sentence, line) for line in lines)
        ]

    def all_told() -> bool:
        cameras.publish()
        return not missing()

    try:
        wait_until(all_told, "every sentence")
    finally:
        assert not missing(), f"not told: {missing()}\n{node.output}"
    for name, (cause, sentence) in NAMED.items():
        where = "" if name in UNTOLD else f"{name}: "
        assert len(re.findall(rf"\]: .*{where}{sentence}", node.output)) == 1, f"{cause} is told once"


def test_a_missing_clock_and_another_transport_are_told(
    started: tuple[Cameras, RosProcess, Statuses], start_node: Any
) -> None:
    cameras, first, _ = started
    remaps = ("-r", "__ns:=/sound", "-p", "image_transport:=compressed", "-p", "use_sim_time:=true")
    node = start_node(first.domain, *remaps)
    told = (
        r"use_sim_time is set but no /clock arrives, and nobody publishes it: play the bag with --clock, or set",
        r"only /sound/rgb/image is published, not /sound/rgb/image/compressed: set image_transport:=raw",
    )

    def all_told() -> bool:
        cameras.publish()
        return all(re.search(sentence, node.output) for sentence in told)

    wait_until(all_told, "both sentences")


def test_pairs_that_are_few_for_no_other_reason_are_told(started: tuple[Cameras, RosProcess, Statuses]) -> None:
    """A pair each 0.6 s is stamped 0.45 s ahead: what comes after it is older than a pair that went out."""
    cameras, node, statuses = started
    colour, depth = cameras.alone["jumpy"]
    last, found = 0.0, ""

    def told() -> bool:
        nonlocal last, found
        time.sleep(1 / 30)
        now = time.monotonic()
        ahead = 450_000_000 if now > last + 0.6 else 0
        last = now if ahead else last
        sent = header(cameras.peer.node.get_clock().now().nanoseconds + ahead)
        colour.publish(image_message(RGB, "rgb8", sent))
        depth.publish(image_message(DEPTH, "16UC1", sent))
        values = {value.key: value.value for value in statuses.newest().get("jumpy", DiagnosticStatus()).values}
        found = values.get("doctor: few-pairs", found)
        return bool(found)

    wait_until(told, "the finding")
    sentence = r"\d\d.\d \w+ images a second, but only \d+ pairs: see the rates in /diagnostics"
    assert re.match(sentence, found)
    node.wait_for(rf"\[WARN\].*: jumpy: {sentence}")


def test_the_first_capture_of_a_camera_is_no_alarm(started: tuple[Cameras, RosProcess, Statuses]) -> None:
    cameras, node, statuses = started
    colour, depth = cameras.alone["single"]
    sent = header(cameras.peer.node.get_clock().now().nanoseconds)
    colour.publish(image_message(RGB, "rgb8", sent))
    depth.publish(image_message(DEPTH, "16UC1", sent))
    node.wait_for(
        r"\[INFO\].*: single: one colour image has come, \d.\d s ago: right for a camera that captures on dem"
    )
    newest: list[DiagnosticStatus] = []

    def told() -> bool:
        newest.append(statuses.newest().get("single", DiagnosticStatus()))
        return "one colour image has come" in newest[-1].message

    wait_until(told, "a status")
    assert newest[-1].level == DiagnosticStatus.OK
    assert not re.search(
        "(WARN|ERROR).*: single: .*(colour|depth) image", node.output.split("one colour image has come")[1]
    )


@pytest.mark.parametrize(
    ("camera", "code", "told"),
    [
        ("sound", 0, r"ok +pairs +1?\d.\d pairs a second, stamps 0 ms apart \(median\)"),
        ("offset", 1, r"error +offset +the nearest colour and depth stamps .*\n +-> synchronise the streams"),
        (
            "nowhere",
            1,
            r"error +pairs +no pair has formed(.|\n)*nobody publishes /nowhere/rgb/image; Image topics",
        ),
    ],
)
def test_the_command_line_says_the_same_without_a_node(
    started: tuple[Cameras, RosProcess, Statuses], camera: str, code: int, told: str
) -> None:
    cameras, node, _ = started
    topics = ("--rgb", f"/{camera}/rgb/image", "--depth", f"/{camera}/depth/image")
    doctor = subprocess.Popen(
        [sys.executable, "-m", "asymformer_ros.cli.main", "doctor", *topics, "--seconds", "2.5"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": str(node.domain)},
    )
    while doctor.poll() is None:
        cameras.publish()
    answer = doctor.communicate()[0]
    assert doctor.returncode == code, answer
    assert re.search(told, answer), answer


def test_the_command_line_answers_with_json_where_nobody_is_there() -> None:
    command = [sys.executable, "-m", "asymformer_ros.cli.main", "doctor", "--json", "--seconds", "1"]
    answer = subprocess.run(
        [*command, "--rgb", "/a/compressed", "--depth", "/b"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": str(free_domain())},
    )
    findings = json.loads(answer.stdout)["findings"]
    assert answer.returncode == 1
    assert [found["cause"] for found in findings] == ["pairs", "no-publisher-colour", "no-publisher-depth"]
    assert findings[1]["text"] == "nobody publishes /a/compressed, and no other node is visible"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--rgb", "/a"), "--rgb and --depth belong together"),
        (("--rgb", "/a b", "--depth", "/b"), "'/a b' is no topic"),
        (("--rgb", "/a", "--depth", "/b", "--seconds", "0"), "listens for 0.0 s with slop None: expected more than 0"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert told in line


def test_when_the_faults_are_over_it_says_so_once_and_every_status_is_ok(
    started: tuple[Cameras, RosProcess, Statuses],
) -> None:
    cameras, node, statuses = started
    cameras.mend()
    never = {"same_topic", "latched"}  # remapped so; and published once, indeed

    def unsound() -> dict[str, str]:
        return {
            name: status.message
            for name, status in statuses.newest().items()
            if name not in never and status.level != DiagnosticStatus.OK
        }

    def all_sound() -> bool:
        cameras.publish()
        return bool(statuses.newest()) and not unsound()

    try:
        wait_until(all_sound, "every status to be OK")
    finally:
        assert not unsound(), node.output
    for name in NAMED.keys() - never:
        node.wait_for(rf"\]: {name}: solved: ")
    assert "Traceback" not in node.output
