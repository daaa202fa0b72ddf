"""What happens to one pair of messages, on the worker's thread: convert, segment, publish, account."""

from __future__ import annotations

import traceback
from time import perf_counter
from typing import Protocol

from rclpy.clock import Clock
from rclpy.context import Context
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from asymformer_ros.errors import BackendError, FrameError
from asymformer_ros.frame import RgbdFrame
from asymformer_ros.node.conversions import frame_from_messages
from asymformer_ros.node.health import Health
from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.outputs import Outputs, Served
from asymformer_ros.node.parameters import Settings
from asymformer_ros.segmenter import Segmenter


class Host(Protocol):
    """What the frame path needs of its node."""

    settings: Settings
    context: Context

    def get_clock(self) -> Clock:
        """The clock that stamps are compared with."""

    def get_logger(self) -> RcutilsLogger:
        """Where a defect of this package is told."""


class FramePath:
    """Serves pairs, one after the other; whatever one holds, the next one is served."""

    def __init__(self, host: Host, segmenter: Segmenter, outputs: Outputs, health: Health) -> None:
        self._host, self._segmenter, self._outputs, self._health = host, segmenter, outputs, health

    def handle(self, pair: Pair) -> None:
        """Segment and publish one pair where anyone listens; count it where it is lost."""
        if not self._outputs.wanted() or self._is_stale(pair.rgb.header, "before"):
            return
        try:
            self._serve(pair)
        except FrameError as error:
            self._health.lost("refused", str(error))
        except BackendError as error:
            self._health.lost("failed", str(error))
        except Exception as error:
            if self._host.context.ok():  # else a publisher went away beneath the frame: the node is ending
                self._health.lost("failed", f"{type(error).__name__}: {error}")
                self._host.get_logger().error(traceback.format_exc(), once=True)

    def _serve(self, pair: Pair) -> None:
        settings, header = self._host.settings, pair.rgb.header
        start = perf_counter()
        frame = frame_from_messages(pair.rgb, pair.depth)
        convert_ms = (perf_counter() - start) * 1e3
        segmentation = self._segmenter.segment(
            frame, with_confidence=self._outputs.wants_confidence(), min_confidence=settings.min_confidence
        )
        if self._is_stale(header, "after"):
            return
        age_ms = self._age(header) * 1e3
        served = Served(header, frame, segmentation, self._matching(pair.camera_info, frame), convert_ms, age_ms)
        published = perf_counter()
        self._outputs.publish(served, self._segmenter.backend.name, settings.overlay_alpha)
        times = segmentation.times
        self._health.served(
            {
                "age": age_ms,
                "convert": convert_ms,
                "preprocess": times.preprocess,
                "inference": times.inference,
                "postprocess": times.postprocess,
                "publish": (perf_counter() - published) * 1e3,
            }
        )

    def _matching(self, info: CameraInfo | None, frame: RgbdFrame) -> CameraInfo | None:
        """The calibration, where it is for images of this size."""
        if info is None or (info.height, info.width) == frame.size:
            return info
        self._health.note(
            f"camera info is for {info.width}x{info.height} but the colour image is {frame.size[1]}x{frame.size[0]}: "
            "segmentation/camera_info is not published"
        )
        return None

    def _age(self, header: Header) -> float:
        """Seconds since the colour image was taken."""
        clock = self._host.get_clock()
        return float((clock.now() - Time.from_msg(header.stamp, clock_type=clock.clock_type)).nanoseconds * 1e-9)

    def _is_stale(self, header: Header, when: str) -> bool:
        limit, age = self._host.settings.max_age, self._age(header)
        if not 0 < limit < age:
            return False
        self._health.lost("stale", f"it was {age:.2f} s old {when} inference and max_age is {limit:.2f} s")
        return True
