"""`segmentation/points`: an organised cloud of the labelled pixels, for whoever maps them in space."""

from __future__ import annotations

import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.points import POINT, PointProjector
from asymformer_ros.inference.segmentation import Segmentation

_FIELDS = [
    PointField(
        name=name, offset=4 * place, datatype=PointField.UINT32 if name == "label" else PointField.FLOAT32, count=1
    )
    for place, name in enumerate(("x", "y", "z", "rgb", "label", "confidence"))
]
"""Of POINT, as PCL and RViz expect them: rgb is packed into a float."""


class CloudWriter:
    """Writes one cloud after the other into the same message."""

    def __init__(self) -> None:
        self._projector: PointProjector | None = None
        self._message = PointCloud2(fields=_FIELDS, is_bigendian=False, point_step=POINT.itemsize, is_dense=False)

    def message(self, header: Header, segmentation: Segmentation, intrinsics: Intrinsics) -> PointCloud2:
        """The points of a segmentation that has a confidence map; valid until the next call."""
        assert segmentation.confidence is not None, "asked for where this topic has subscribers"
        if self._projector is None or self._projector.intrinsics != intrinsics:
            self._projector = PointProjector(intrinsics, self._resize(intrinsics.height, intrinsics.width))
        self._projector.project(segmentation.frame, segmentation.labels, segmentation.confidence)
        self._message.header = header
        return self._message

    def _resize(self, height: int, width: int) -> NDArray[np.void]:
        """The points in the message's own array."""
        message = self._message
        message.height, message.width, message.row_step = height, width, width * POINT.itemsize
        message.data = array.array("B", bytes(height * message.row_step))
        return np.frombuffer(message.data, POINT).reshape(height, width)
