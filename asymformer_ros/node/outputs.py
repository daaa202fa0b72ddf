"""The node's output topics: nothing is computed or published that nobody subscribes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from asymformer_ros.errors import DependencyError
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.overlay import blend, legend_strip
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.msg import ClassSummary, SegmentationSummary
from asymformer_ros.node.conversions import ImageWriter, image_message
from asymformer_ros.node.parameters import qos_overrides
from asymformer_ros.node.points import CloudWriter
from asymformer_ros.optional import importing, installed

try:
    with importing("vision_msgs", "the topic segmentation/label_info"):
        from vision_msgs.msg import LabelInfo, VisionClass
except DependencyError:  # or it is older than LabelInfo (2022-11): the topic is not published
    LabelInfo = None

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LEGEND_WIDTH = 480  # pixels
_IMAGES = {"labels": "mono8", "color": "rgb8", "overlay": "rgb8", "confidence": "mono8"}


@dataclass(frozen=True)
class Result:
    """One segmented frame, its calibration where that is known and asked for, and what its summary tells beside it."""

    header: Header
    segmentation: Segmentation
    camera_info: CameraInfo | None
    intrinsics: Intrinsics | None
    rgb_only: bool
    model: str
    backend: str
    engine: str
    convert_ms: float
    age_ms: float


class Outputs:
    """Publishers of `segmentation/*` for one camera.

    on_match: called where a subscriber has come or gone, by ROS versions and middleware that tell (Humble does not).
    """

    def __init__(self, node: Node, prefix: str, on_match: Callable[[], None] = lambda: None) -> None:
        self._events = _match_events(on_match)
        self._node, self._prefix = node, f"{prefix}segmentation/"
        self._taker: Callable[[Result], None] | None = None
        self._images = {name: self._publisher(Image, name) for name in _IMAGES}
        self._writers = {name: ImageWriter(encoding) for name, encoding in _IMAGES.items()}
        self._summary = self._publisher(SegmentationSummary, "summary")
        self._camera_info = self._publisher(CameraInfo, "camera_info")
        self._points = self._publisher(PointCloud2, "points")
        self._cloud = CloudWriter()
        self._label_info = (
            None if LabelInfo is None else node.create_publisher(LabelInfo, self._prefix + "label_info", _LATCHED)
        )
        self._legend = node.create_publisher(Image, self._prefix + "legend", _LATCHED)

    def _publisher(self, message_type: type, name: str) -> Publisher:
        topic = self._prefix + name
        with qos_overrides(topic) as options:
            return self._node.create_publisher(
                message_type,
                topic,
                QoSProfile(depth=2),
                qos_overriding_options=options,
                event_callbacks=self._events,
            )

    def destroy(self) -> None:
        """Take every topic down."""
        for publisher in (*self._made_of_frames(), self._label_info, self._legend):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    def wanted(self) -> bool:
        """Whether anyone subscribes to anything that a frame makes, or waits to take one."""
        return self._taker is not None or any(_wanted(publisher) for publisher in self._made_of_frames())

    def wants_confidence(self) -> bool:
        """Whether the confidence map is needed."""
        need_it = (self._images["confidence"], self._summary, self._points)
        return self._taker is not None or any(_wanted(publisher) for publisher in need_it)

    def wants_points(self) -> bool:
        """Whether anyone subscribes to the points, which need the camera's intrinsics."""
        return _wanted(self._points)

    def take_next(self, taker: Callable[[Result], None] | None) -> None:
        """Hand the next frame's result to `taker`, on the worker's thread, and no other; None takes that back."""
        self._taker = taker

    def tell_classes(self, label_set: LabelSet, threshold: float) -> None:
        """Publish the classes, latched: their names where vision_msgs has LabelInfo, and a legend for people."""
        stamp = self._node.get_clock().now().to_msg()
        entries = list(zip(label_set.names, label_set.colors, strict=True))
        self._legend.publish(image_message(legend_strip(entries, _LEGEND_WIDTH), "rgb8", Header(stamp=stamp)))
        if self._label_info is not None:
            classes = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(label_set.names)]
            self._label_info.publish(LabelInfo(header=Header(stamp=stamp), class_map=classes, threshold=threshold))

    def publish(self, result: Result, overlay_alpha: float) -> None:
        """Publish whatever has subscribers, each under the colour image's header."""
        header, segmentation = result.header, result.segmentation
        self._publish_images(header, segmentation, overlay_alpha)
        if result.camera_info is not None and _wanted(self._camera_info):
            self._camera_info.publish(_restamped(result.camera_info, header))
        if segmentation.confidence is not None and _wanted(self._summary):
            self._summary.publish(self._summarize(result))
        if segmentation.confidence is not None and result.intrinsics is not None and _wanted(self._points):
            self._points.publish(self._cloud.message(header, segmentation, result.intrinsics))
        if segmentation.confidence is not None and self._taker is not None:
            taker, self._taker = self._taker, None
            taker(result)

    def _publish_images(self, header: Header, segmentation: Segmentation, overlay_alpha: float) -> None:
        """Each is written where the message keeps its pixels; the colours, too, for the overlay alone."""
        labels, wanted = segmentation.labels, {name for name in _IMAGES if _wanted(self._images[name])}
        if "labels" in wanted:
            np.copyto(self._writers["labels"].pixels(labels.shape), labels)
        if segmentation.confidence is None:
            wanted.discard("confidence")
        elif "confidence" in wanted:
            np.copyto(self._writers["confidence"].pixels(labels.shape), segmentation.confidence)
        if wanted & {"color", "overlay"}:
            color = self._writers["color"].pixels((*labels.shape, 3))
            segmentation.label_set.colorize(labels, color)
            if "overlay" in wanted:
                blended = self._writers["overlay"].pixels(color.shape)
                blend(segmentation.frame.rgb, color, labels, overlay_alpha, blended)
        for name in _IMAGES:
            if name in wanted:
                self._images[name].publish(self._writers[name].message(header))

    def _made_of_frames(self) -> tuple[Publisher, ...]:
        return (*self._images.values(), self._summary, self._camera_info, self._points)

    def _summarize(self, result: Result) -> SegmentationSummary:
        times = result.segmentation.times
        statistics = result.segmentation.classes
        return SegmentationSummary(
            header=result.header,
            classes=[
                ClassSummary(
                    id=entry.label,
                    name=entry.name,
                    pixel_fraction=entry.pixel_fraction,
                    mean_confidence=entry.mean_confidence,
                    nearest_distance=entry.nearest_distance,
                    centroid_x=entry.centroid[0],
                    centroid_y=entry.centroid[1],
                )
                for entry in statistics
            ],
            unlabelled_fraction=max(0.0, 1.0 - sum(entry.pixel_fraction for entry in statistics)),
            rgb_only=result.rgb_only,
            model=result.model,
            backend=result.backend,
            engine=result.engine,
            convert_ms=result.convert_ms,
            preprocess_ms=times.preprocess,
            inference_ms=times.inference,
            postprocess_ms=times.postprocess,
            age_ms=result.age_ms,
        )


def _match_events(on_match: Callable[[], None]) -> Any:
    """What calls back where a subscriber has come or gone; None with Humble, whose rclpy has no such event."""
    if not installed("rclpy.event_handler"):
        return None
    from rclpy.event_handler import PublisherEventCallbacks

    return PublisherEventCallbacks(matched=lambda info: on_match())


def _restamped(info: CameraInfo, header: Header) -> CameraInfo:
    values = {name: getattr(info, name) for name in info.get_fields_and_field_types()}
    return CameraInfo(**{**values, "header": header})


def _wanted(publisher: Publisher) -> bool:
    return bool(publisher.get_subscription_count() > 0)
