"""`segmentation/points`: an organised cloud of the labelled pixels, for whoever maps them in space."""

from __future__ import annotations

import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField
from std_msgs.msg import Header

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.points import POINT, PointProjector
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.node.conversions import image_size

_FIELDS = [
    PointField(
        name=name, offset=4 * place, datatype=PointField.UINT32 if name == "label" else PointField.FLOAT32, count=1
    )
    for place, name in enumerate(("x", "y", "z", "rgb", "label", "confidence"))
]
"""Of POINT, as PCL and RViz expect them: rgb is packed into a float."""


def is_for(info: CameraInfo, size: tuple[int, int]) -> bool:
    """Whether a calibration is for images of this size, (height, width): whole ones, or its region of interest."""
    return size in ((info.height, info.width), image_size(info))


def intrinsics_of(info: CameraInfo | None, size: tuple[int, int]) -> Intrinsics:
    """The projection of images of this size, (height, width), of a calibration that `is_for` them.

    It is that of rectified images (P), or K where P is empty; region of interest and binning count where the images
    have them (REP 104, sensor_msgs/CameraInfo). Raises FrameError where none has come, ConfigurationError where its
    values make no sense.
    """
    if info is None:
        raise FrameError(
            "no camera info has come: remap rgb/camera_info to the colour camera's; where its driver publishes that "
            "only once, set qos_overrides (docs/node.md)"
        )
    fx, cx, fy, cy = (info.p[at] for at in (0, 2, 5, 6)) if info.p[0] else (info.k[at] for at in (0, 2, 4, 5))
    if size == image_size(info):
        binning_x, binning_y = max(info.binning_x, 1), max(info.binning_y, 1)
        cx, cy = (cx - info.roi.x_offset) / binning_x, (cy - info.roi.y_offset) / binning_y
        fx, fy = fx / binning_x, fy / binning_y
    return Intrinsics(size[1], size[0], float(fx), float(fy), float(cx), float(cy))


class CloudWriter:
    """Writes one cloud after the other into the same message."""

    def __init__(self) -> None:
        self._projector: PointProjector | None = None
        self._message = PointCloud2(fields=_FIELDS, is_bigendian=False, point_step=POINT.itemsize, is_dense=False)
        self._points: NDArray[np.void] = np.empty((0, 0), POINT)

    def message(self, header: Header, segmentation: Segmentation, intrinsics: Intrinsics) -> PointCloud2:
        """The points of a segmentation that has a confidence map; valid until the next call."""
        assert segmentation.confidence is not None, "asked for where this topic has subscribers"
        if self._projector is None or self._projector.intrinsics != intrinsics:
            self._projector = PointProjector(intrinsics)
            self._resize(intrinsics.height, intrinsics.width)
        self._projector.project(segmentation.frame, segmentation.labels, segmentation.confidence, self._points)
        self._message.header = header
        return self._message

    def _resize(self, height: int, width: int) -> None:
        message = self._message
        message.height, message.width, message.row_step = height, width, width * POINT.itemsize
        message.data = array.array("B", bytes(height * message.row_step))
        self._points = np.frombuffer(message.data, POINT).reshape(height, width)  # of the message's own array
