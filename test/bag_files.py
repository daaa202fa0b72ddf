"""Bags of RGB-D frames for tests, written without ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from rgbd_frames import Frame
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

TYPES = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000_000_000_000
STEP = 100_000_000
RGB, DEPTH, INFO = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw", "/camera/color/camera_info"


def header(stamp: int, frame_id: str = "camera") -> object:
    """Of a message."""
    time = TYPES.types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return TYPES.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image(pixels: np.ndarray, encoding: str, stamp: int, frame_id: str = "camera") -> object:
    """An Image."""
    data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
    return TYPES.types["sensor_msgs/msg/Image"](
        header=header(stamp, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=data.size // pixels.shape[0],
        data=data,
    )


def compressed(pixels: np.ndarray, transport_format: str, stamp: int, head: bytes = b"") -> object:
    """A CompressedImage, PNG."""
    data = np.frombuffer(head + cv2.imencode(".png", pixels)[1].tobytes(), np.uint8)
    return TYPES.types["sensor_msgs/msg/CompressedImage"](header=header(stamp), format=transport_format, data=data)


def info(width: int, height: int, stamp: int) -> object:
    """A CameraInfo."""
    focal, cx, cy = 0.9 * width, width / 2, height / 2
    return TYPES.types["sensor_msgs/msg/CameraInfo"](
        header=header(stamp),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([focal, 0, cx, 0, focal, cy, 0, 0, 1]),
        r=np.eye(3).reshape(-1),
        p=np.array([focal, 0, cx, 0, 0, focal, cy, 0, 0, 0, 1, 0]),
        binning_x=0,
        binning_y=0,
        roi=TYPES.types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def write_bag(
    path: Path,
    content: Sequence[Frame],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    transport: str = "raw",
    step: int = STEP,
    damaged: Sequence[int] = (),
    depth_frame: str = "camera",
    depth_late: Mapping[int, int] | None = None,
    repeats: int = 1,
    turned: bool = False,
) -> Path:
    """A bag of frames, each `step` ns; depth is recorded 5 ms behind colour.

    transport: "raw" or "compressed", of both. damaged: frames whose colour message is cut short. depth_frame: of raw
    depth's header. depth_late: by how many ns raw depth of a frame is stamped behind its colour. repeats: how often all
    comes, with the same stamps. turned: whether each other time the frames come from the last to the first.
    """
    ending, kind = ("", "sensor_msgs/msg/Image")
    if transport == "compressed":
        ending, kind = "/compressed", "sensor_msgs/msg/CompressedImage"
    late = depth_late or {}
    with Writer(path, version=9, storage_plugin=storage) as writer:
        rgb_topic = writer.add_connection(RGB + ending, kind, typestore=TYPES)
        depth_topic = writer.add_connection(DEPTH + ending, kind, typestore=TYPES)
        info_topic = writer.add_connection(INFO, "sensor_msgs/msg/CameraInfo", typestore=TYPES)
        backwards = [*content][:: -1 if turned else 1]
        for at, (rgb, depth) in enumerate(([*content, *backwards] * repeats)[: len(content) * repeats]):
            number, recorded = at % len(content), START + at * step
            stamp = START + number * step
            if transport == "raw":
                messages = image(rgb, "rgb8", stamp), image(depth, "16UC1", stamp + late.get(number, 0), depth_frame)
            else:
                messages = (
                    compressed(rgb[..., ::-1], "rgb8; png compressed bgr8", stamp),
                    compressed(depth, "16UC1; png compressed ", stamp),
                )
            colour, distance = (TYPES.serialize_cdr(message, kind) for message in messages)
            if number in damaged:
                colour = bytes(colour)[:40]
            calibration = info(rgb.shape[1], rgb.shape[0], stamp)
            writer.write(info_topic, recorded, TYPES.serialize_cdr(calibration, "sensor_msgs/msg/CameraInfo"))
            writer.write(rgb_topic, recorded + 1_000_000, colour)
            writer.write(depth_topic, recorded + 6_000_000, distance)
    return path
