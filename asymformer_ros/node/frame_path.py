"""What happens to pairs of messages, on the worker's thread: convert, segment, publish, account."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from rclpy.clock import Clock
from rclpy.context import Context
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from asymformer_ros.errors import BackendError, FrameError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.upgrading import progress_of
from asymformer_ros.node.camera import Camera
from asymformer_ros.node.conversions import frame_from_messages
from asymformer_ros.node.health import Health
from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.outputs import Served
from asymformer_ros.node.parameters import Settings


class Host(Protocol):
    """What the frame path needs of its node."""

    settings: Settings
    context: Context

    def get_clock(self) -> Clock:
        """The clock that stamps are compared with."""

    def get_logger(self) -> RcutilsLogger:
        """Where a defect of this package is told."""


@dataclass(frozen=True)
class Taken:
    """A pair that has become a frame."""

    camera: Camera
    pair: Pair
    frame: RgbdFrame
    convert_ms: float


class FramePath:
    """Serves the newest pairs of all cameras together; whatever they hold, the next ones are served."""

    def __init__(self, host: Host, segmenter: Segmenter, cameras: Sequence[Camera]) -> None:
        self._host, self._segmenter, self._cameras = host, segmenter, cameras

    def handle(self, pairs: Mapping[int, Pair]) -> None:
        """Segment and publish pairs, by the camera's index, where anyone listens; count them where they are lost."""
        offered = [(self._cameras[index], pair) for index, pair in sorted(pairs.items())]
        taken = [frame for camera, pair in offered if (frame := self._take(camera, pair)) is not None]
        if not taken:
            return
        try:
            self._serve(taken)
        except BackendError as error:
            self._fail(taken, str(error))
        except Exception as error:
            if self._host.context.ok():  # else a publisher went away beneath the frame: the node is ending
                self._fail(taken, f"{type(error).__name__}: {error}")
                self._host.get_logger().error(traceback.format_exc(), once=True)

    def _take(self, camera: Camera, pair: Pair) -> Taken | None:
        if not camera.outputs.wanted() or self._is_stale(camera, pair, "before"):
            return None
        start = perf_counter()
        try:
            frame = frame_from_messages(pair.rgb, pair.depth)
        except FrameError as error:
            camera.health.lost("refused", str(error))
            return None
        return Taken(camera, pair, frame, (perf_counter() - start) * 1e3)

    def _serve(self, taken: Sequence[Taken]) -> None:
        with_confidence = any(one.camera.outputs.wants_confidence() for one in taken)
        segmentations = self._segmenter.segment_all(
            [one.frame for one in taken],
            with_confidence=with_confidence,
            min_confidence=self._host.settings.min_confidence,
        )
        for one, segmentation in zip(taken, segmentations, strict=True):
            if not self._is_stale(one.camera, one.pair, "after"):
                self._publish(one, segmentation)

    def _publish(self, one: Taken, segmentation: Segmentation) -> None:
        header, camera = one.pair.rgb.header, one.camera
        age_ms = self._age(header) * 1e3
        info = _matching(one.pair.camera_info, one.frame, camera.health)
        start = perf_counter()
        backend = self._segmenter.backend
        served = Served(header, segmentation, info, backend.name, progress_of(backend), one.convert_ms, age_ms)
        camera.outputs.publish(served, self._host.settings.overlay_alpha)
        times = segmentation.times
        camera.health.served(
            {
                "age": age_ms,
                "convert": one.convert_ms,
                "preprocess": times.preprocess,
                "inference": times.inference,
                "postprocess": times.postprocess,
                "publish": (perf_counter() - start) * 1e3,
            }
        )

    def _fail(self, taken: Sequence[Taken], explanation: str) -> None:
        for one in taken:
            one.camera.health.lost("failed", explanation)

    def _age(self, header: Header) -> float:
        """Seconds since the colour image was taken."""
        clock = self._host.get_clock()
        return float((clock.now() - Time.from_msg(header.stamp, clock_type=clock.clock_type)).nanoseconds * 1e-9)

    def _is_stale(self, camera: Camera, pair: Pair, when: str) -> bool:
        limit, age = self._host.settings.max_age, self._age(pair.rgb.header)
        if not 0 < limit < age:
            return False
        camera.health.lost("stale", f"it was {age:.2f} s old {when} inference and max_age is {limit:.2f} s")
        return True


def _matching(info: CameraInfo | None, frame: RgbdFrame, health: Health) -> CameraInfo | None:
    """The calibration, where it is for images of this size."""
    if info is None or (info.height, info.width) == frame.size:
        return info
    health.note(
        f"camera info is for {info.width}x{info.height} but the colour image is {frame.size[1]}x{frame.size[0]}: "
        "segmentation/camera_info is not published"
    )
    return None
