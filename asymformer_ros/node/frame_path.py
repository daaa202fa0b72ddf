"""What happens to pairs of messages, on the worker's thread: convert, segment, publish, account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from asymformer_ros.errors import AsymformerError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.messages import image_size, intrinsics_of, is_for, stamp_ns
from asymformer_ros.inference.last_resort import GpuLostError
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.inference.upgrading import progress_of
from asymformer_ros.node.camera import Camera
from asymformer_ros.node.conversions import frame_from_messages
from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.outputs import Result
from asymformer_ros.node.parameters import Settings
from asymformer_ros.node.serving import Serving


@dataclass(frozen=True)
class Request:
    """A pair that has become a frame and waits for the network."""

    camera: Camera
    pair: Pair
    frame: RgbdFrame
    convert_ms: float


class FramePath:
    """Serves the newest pairs of all cameras together.

    Whatever is raised on the way costs the frame that it was raised for, which is counted; the next ones are served.
    """

    def __init__(
        self, node: Node, settings: Callable[[], Settings], serving: Serving, cameras: Sequence[Camera]
    ) -> None:
        self._node, self._settings, self._serving, self._cameras = node, settings, serving, cameras

    def handle(self, pairs: Mapping[int, Pair]) -> None:
        """Segment and publish pairs, by the camera's index, where anyone listens; count them where they are lost."""
        requests: list[Request] = []
        for index, pair in sorted(pairs.items()):
            with self._accounted(self._cameras[index]):
                requests += self._requests(self._cameras[index], pair)
        with self._serving.in_hand():
            self._serve(requests)

    def _serve(self, requests: Sequence[Request]) -> None:
        if len(requests) > 1 and self._serve_together(requests):
            return
        for request in requests:
            with self._accounted(request.camera):
                self._publish(request, self._segment([request])[0])

    def _serve_together(self, requests: Sequence[Request]) -> bool:
        """Serve several cameras' frames in one go; False where that fails: one of them may be at fault."""
        try:
            segmentations = self._segment(requests)
        except Exception as error:
            requests[0].camera.health.note(f"{len(requests)} cameras together: {error}; each is tried alone")
            return False
        for request, segmentation in zip(requests, segmentations, strict=True):
            with self._accounted(request.camera):
                self._publish(request, segmentation)
        return True

    @contextmanager
    def _accounted(self, camera: Camera) -> Iterator[None]:
        try:
            yield
        except GpuLostError:
            raise  # it ends the node
        except Exception as error:
            if self._node.context.ok():  # else a publisher went away beneath the frame: the node is ending
                camera.health.raised(error)

    def _requests(self, camera: Camera, pair: Pair) -> list[Request]:
        """The pair as a frame; empty where nobody listens or it is too old."""
        if not camera.outputs.wanted():
            camera.health.unwanted()
            return []
        if self._is_stale(camera, pair, "before"):
            return []
        start = perf_counter()
        frame = frame_from_messages(pair.rgb, pair.depth, self._settings().max_pixels)
        if pair.depth is not None:
            camera.converted(frame)
        return [Request(camera, pair, frame, (perf_counter() - start) * 1e3)]

    def _segment(self, requests: Sequence[Request]) -> list[Segmentation]:
        settings, segmenter = self._settings(), self._serving.segmenter
        streams = [(request.camera.smoothing, stamp_ns(request.pair.rgb.header) * 1e-9) for request in requests]
        segmentations = segmenter.segment_all(
            [request.frame for request in requests],
            with_confidence=any(request.camera.outputs.wants_confidence() for request in requests),
            min_confidence=settings.min_confidence,
            smoothing=[smoothing.at(seconds) for smoothing, seconds in streams] if settings.temporal_smoothing else (),
        )
        for request in requests:
            _tell_smoothing(request.camera, settings.temporal_smoothing, segmenter.backend.name)
        return segmentations

    def _publish(self, request: Request, segmentation: Segmentation) -> None:
        camera, header = request.camera, request.pair.rgb.header
        if self._is_stale(camera, request.pair, "after"):
            return
        age_ms = self._age(header) * 1e3
        info, intrinsics = _calibration(request)
        start = perf_counter()
        backend = self._serving.segmenter.backend
        result = Result(
            header=header,
            segmentation=segmentation,
            camera_info=info,
            intrinsics=intrinsics,
            rgb_only=request.pair.depth is None,
            model=backend.card.name,
            backend=backend.name,
            engine=progress_of(backend),
            convert_ms=request.convert_ms,
            age_ms=age_ms,
        )
        camera.outputs.publish(result, self._settings().overlay_alpha)
        times = segmentation.times
        camera.health.served(
            {
                "age": age_ms,
                "convert": request.convert_ms,
                "preprocess": times.preprocess,
                "inference": times.inference,
                "postprocess": times.postprocess,
                "publish": (perf_counter() - start) * 1e3,
            }
        )

    def _age(self, header: Header) -> float:
        """Seconds since the colour image was taken."""
        return (self._node.get_clock().now().nanoseconds - stamp_ns(header)) * 1e-9

    def _is_stale(self, camera: Camera, pair: Pair, when: str) -> bool:
        limit, age = self._settings().max_age, self._age(pair.rgb.header)
        if not 0 < limit < age:
            return False
        camera.health.lost("stale", f"it was {age:.2f} s old {when} inference and max_age is {limit:.2f} s")
        return True


def _tell_smoothing(camera: Camera, wanted: bool, backend: str) -> None:
    if not wanted:
        camera.smooths = "off"
    elif camera.smoothing.applied:
        camera.smooths = "on"
    else:
        camera.smooths = f"impossible: {backend} gives labels and no scores"
        camera.health.note(f"temporal_smoothing is {camera.smooths}")


def _calibration(request: Request) -> tuple[CameraInfo | None, Intrinsics | None]:
    """The pair's calibration where it is for images of this size, and its intrinsics where the points need them."""
    camera, info, size = request.camera, request.pair.camera_info, request.frame.size
    camera.no_points = ""
    if info is not None and not is_for(info, size):
        height, width = image_size(info)
        camera.health.note(
            f"camera info is for {width}x{height} but the colour image is {size[1]}x{size[0]}: "
            "segmentation/camera_info and segmentation/points are not published"
        )
        return None, None
    if not camera.outputs.wants_points():
        return info, None
    try:
        return info, intrinsics_of(info, size)
    except AsymformerError as error:
        camera.no_points = str(error)
        return info, None
