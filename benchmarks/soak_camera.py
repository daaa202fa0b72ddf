"""The soak's camera, a process of its own: the package's golden frames, in calm and in faulty times by turns.

Before the images of a frame it tells on `soak/sent` what it sends: stamp (ns), monotonic time (ns), the faults, and the
stamps that they have made of it.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import resource
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from soak_faults import FAULTS, Sent
from std_msgs.msg import Header, String

from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.messages import stamp_ns
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.node.camera_node import camera_info_message
from asymformer_ros.node.conversions import image_message

TURN = 60.0
"""Seconds of calm, then of faults, and so on."""

LARGE_FIRST = 20.0
"""Seconds at the beginning with large images alone: DDS keeps each of its buffers as large as the largest message that
it has held, so memory grows until every one has held such an image."""

SETTLING, RENEWED = 20.0, 5.0
"""Seconds before a calm minute: from the first on without large images and troubles; at the second, when no large image
is under way any more, the node's subscriptions are made anew, and with them DDS's buffers, so that the calm minutes'
memory can be compared."""

WIDTH, HEIGHT = 320, 240
_TYPES = {"rgb": Image, "depth": Image, "info": CameraInfo}
_TOPICS = {"rgb": "rgb/image", "depth": "depth/image", "info": "rgb/camera_info"}


def is_calm(start: float) -> bool:
    """Whether no fault is made now. start: monotonic time of the soak's beginning, seconds."""
    return (time.monotonic() - start) % (2 * TURN) < TURN


def until_calm(start: float) -> float:
    """Seconds until the next calm minute, 0 in one."""
    return 0.0 if is_calm(start) else 2 * TURN - (time.monotonic() - start) % (2 * TURN)


class SoakCamera(Node):
    """Publishes frames at a rate, and faults in their place."""

    def __init__(self, seed: int, rate: float, start: float) -> None:
        super().__init__("soak_camera")
        self._rng, self._start, self._numbers = np.random.default_rng(seed), start, count()
        self._topics = {
            name: self.create_publisher(kind, _TOPICS[name], qos_profile_sensor_data) for name, kind in _TYPES.items()
        }
        self._told = self.create_publisher(String, "soak/sent", QoSProfile(depth=200))
        self._frames = _golden_frames()
        self._info = camera_info_message(Intrinsics.typical(WIDTH, HEIGHT))
        self._waiting: list[tuple[float, int, Sent]] = []
        self.create_timer(1 / rate, self._tick)
        self.create_timer(0.05, self._send_what_is_due)

    def _tick(self) -> None:
        number = next(self._numbers)
        rgb, depth = self._frames[number % len(self._frames)]
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id="soak")
        sent = [
            Sent("rgb", image_message(rgb, "rgb8", header)),
            Sent("depth", image_message(depth, "16UC1", Header(stamp=header.stamp, frame_id="soak"))),
            Sent("info", CameraInfo(header=header, width=WIDTH, height=HEIGHT, k=self._info.k, p=self._info.p)),
        ]
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        faults: list[str] = []
        calm = is_calm(self._start)
        if time.monotonic() - self._start < LARGE_FIRST:
            sent, faults = FAULTS["huge"](sent, self._rng), ["huge"]
        elif not calm and self._rng.random() < 0.5:
            sent, faults = self._spoilt(sent)
        record = {"stamp": stamp, "at": time.monotonic_ns(), "calm": calm, "faults": faults, **_told(sent, stamp)}
        self._told.publish(String(data=json.dumps(record)))
        for one in sent:
            heapq.heappush(self._waiting, (time.monotonic() + one.delay, next(self._numbers), one))
        self._send_what_is_due()

    def _spoilt(self, sent: list[Sent]) -> tuple[list[Sent], list[str]]:
        """One to three faults together."""
        made = []
        choice = [name for name in FAULTS if name != "huge" or until_calm(self._start) > SETTLING]
        for name in self._rng.choice(choice, size=int(self._rng.integers(1, 4)), replace=False):
            with contextlib.suppress(Exception):  # it does not go with the one before
                sent = FAULTS[name](sent, self._rng)
                made.append(str(name))
        return sent, made

    def _send_what_is_due(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            sent = heapq.heappop(self._waiting)[2]
            self._topics[sent.topic].publish(sent.message)


def _told(sent: list[Sent], stamp: int) -> dict[str, Any]:
    """The stamps (ns) of colour and of depth images as they are sent, and which of them cannot be read."""
    topics = {"rgb": "colour", "depth": "depth"}
    told: dict[str, Any] = {"colour": [], "depth": [], "unreadable": []}
    for one in sent:
        if one.topic in topics:
            unreadable = isinstance(one.message, bytes)
            told[topics[one.topic]].append(stamp if unreadable else stamp_ns(one.message.header))
            if unreadable:
                told["unreadable"].append(topics[one.topic])
    return told


def _golden_frames() -> list[tuple[Any, Any]]:
    import asymformer_ros.engine

    recording = RgbdRecording(Path(asymformer_ros.engine.__file__).parent / "golden_frames")
    frames = []
    for index in range(len(recording)):
        raw = recording.raw(index)
        depth = cv2.resize(raw.depth, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        frames.append((cv2.resize(raw.rgb, (WIDTH, HEIGHT)), depth))
    return frames


def main() -> None:
    """soak_camera.py SEED RATE START; ended by a signal."""
    resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))  # a fault that asks for more is left out
    seed, rate, start = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(SoakCamera(seed, rate, start))


if __name__ == "__main__":
    main()
