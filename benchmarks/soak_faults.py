"""What goes wrong with a camera's messages: each fault takes what is to be sent and gives what is sent in its place."""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message

from asymformer_ros.node.conversions import image_message


@dataclass(frozen=True)
class Sent:
    """One message on its topic ("rgb", "depth" or "info"), sent `delay` seconds later than it should be."""

    topic: str
    message: Any
    delay: float = 0.0


Fault = Callable[[list[Sent], np.random.Generator], list[Sent]]


def truncated(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Data that ends too early."""
    message = _one_image(sent, rng)
    message.data = message.data[: int(rng.integers(0, len(message.data) + 1))]
    return sent


def bytes_cut(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """A serialised message that ends too early, or whose text is no UTF-8: it cannot be read at all."""
    chosen = int(rng.integers(0, 2))
    data = serialize_message(sent[chosen].message)
    broken = (
        data[: int(rng.integers(3, len(data)))] if rng.random() < 0.5 else data.replace(b"soak", b"\xff\xfe\xfd\xfc")
    )
    return [replace(one, message=broken) if at == chosen else one for at, one in enumerate(sent)]


def step_lies(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """A row step that does not fit."""
    _one_image(sent, rng).step = int(2 ** rng.uniform(0, 32)) - 1
    return sent


def size_lies(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Sizes from 0 to 2^32 - 1 that are not those of the data."""
    message = _one_image(sent, rng)
    message.width, message.height = (int(rng.choice([0, 1, 2**16, 2**31, 2**32 - 1])) for _ in range(2))
    return sent


def empty(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """No pixels."""
    message = _one_image(sent, rng)
    message.width = message.height = message.step = 0
    message.data = array.array("B")
    return sent


def huge(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """An honest image of 3 megapixels."""
    return _resized(sent, (2048, 1536))


def other_size(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Another resolution, from one pixel to VGA."""
    return _resized(sent, ((1, 1), (7, 5), (160, 120), (640, 480))[int(rng.integers(0, 4))])


def depth_unlike_colour(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Depth that is not registered: another aspect ratio."""
    message = sent[1].message
    pixels = np.full((200, 100), 1000, np.uint16)
    return [sent[0], Sent("depth", image_message(pixels, "16UC1", message.header)), *sent[2:]]


def odd_encoding(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """An encoding that is none, or not of this topic."""
    _one_image(sent, rng).encoding = str(rng.choice(["8UC7", "", "yuv422", "64FC1", "16UC1", "rgb8", "x" * 1000]))
    return sent


def other_encoding(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Another encoding that the node knows."""
    message = sent[0].message
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    encoding = str(rng.choice(["bgr8", "mono8", "rgba8", "bayer_rggb8"]))
    channels = {"bgr8": pixels[..., ::-1], "rgba8": np.dstack([pixels, pixels[..., :1]])}
    colour = image_message(channels.get(encoding, pixels[..., 0]), encoding, message.header)
    return [Sent("rgb", colour), *sent[1:]]


def odd_depth(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Float depth with NaN, infinity, values below zero, and beyond all measure; or nothing but that."""
    message = sent[1].message
    if message.height * message.width * 2 != len(message.data):
        raise ValueError("it has another fault already")
    metres = np.full((message.height, message.width), 2.0, np.float32)
    holes = rng.random(metres.shape) < rng.choice([0.1, 0.9, 1.0])
    metres[holes] = rng.choice(np.array([np.nan, np.inf, -np.inf, -1, 0, 3e38], np.float32), int(holes.sum()))
    return [sent[0], Sent("depth", image_message(metres, "32FC1", message.header)), *sent[2:]]


def no_depth(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Depth that is zero everywhere."""
    sent[1].message.data = array.array("B", bytes(len(sent[1].message.data)))
    return sent


def odd_stamp(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Both stamps zero, negative, behind or ahead, by seconds or a day."""
    shift = int(rng.choice([-86_400, -3600, -2, 5, 3600, 86_400]))
    time = sent[0].message.header.stamp
    stamp = Time(sec=time.sec + shift, nanosec=time.nanosec)
    if rng.random() < 0.3:
        stamp = Time(sec=int(rng.choice([0, -1, -(2**31)])), nanosec=int(rng.choice([0, 2**32 - 1])))
    for one in sent[:2]:
        one.message.header.stamp = stamp
    return sent


def stamps_apart(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Depth stamped at another moment than colour."""
    time = sent[1].message.header.stamp
    sent[1].message.header.stamp = Time(sec=time.sec, nanosec=int(rng.integers(0, 10**9)))
    return sent


def one_lost(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Colour or depth does not come."""
    return sent[:1] if rng.random() < 0.5 else sent[1:]


def duplicated(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Everything comes twice, or five times."""
    return sent * int(rng.choice([2, 5]))


def out_of_order(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Each message comes up to 0.6 s late: after later ones."""
    return [replace(one, delay=float(rng.uniform(0, 0.6))) for one in sent]


def burst(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Thirty pairs at once, three where they are large, a millisecond of stamps apart."""
    frames = []
    number_of_pairs = 30 if len(sent[0].message.data) < 10**6 else 3
    for number in range(number_of_pairs):
        for one in sent[:2]:
            stamp = one.message.header.stamp
            shown = type(one.message.header)(frame_id=one.message.header.frame_id)
            shown.stamp = Time(sec=stamp.sec, nanosec=(stamp.nanosec + number * 1_000_000) % 10**9)
            frames.append(Sent(one.topic, _under(one.message, shown)))
    return frames


def odd_info(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """A calibration that is missing, late, for another size, or absurd."""
    if rng.random() < 0.3:
        return sent[:2]
    info = sent[2].message
    info.width, info.binning_x = int(rng.choice([0, 7, 2**32 - 1])), int(rng.choice([0, 2, 2**32 - 1]))
    info.k = [float(rng.choice([0.0, -1.0, np.nan, np.inf, 1e300]))] * 9
    return [*sent[:2], replace(sent[2], delay=float(rng.choice([0.0, 0.3])))]


def other_frame(sent: list[Sent], rng: np.random.Generator) -> list[Sent]:
    """Depth in another frame than colour."""
    sent[1].message.header.frame_id = "" if rng.random() < 0.5 else "x" * 5000
    return sent


FAULTS: dict[str, Fault] = {
    fault.__name__.replace("_", " "): fault
    for fault in (
        truncated, bytes_cut, step_lies, size_lies, empty, huge, other_size, depth_unlike_colour, odd_encoding,
        other_encoding, odd_depth, no_depth, odd_stamp, stamps_apart, one_lost, duplicated, out_of_order, burst,
        odd_info, other_frame,
    )
}  # fmt: skip
"""All of them by name."""


def _one_image(sent: list[Sent], rng: np.random.Generator) -> Any:
    return sent[int(rng.integers(0, 2))].message


def _resized(sent: list[Sent], size: tuple[int, int]) -> list[Sent]:
    made = []
    for one, kind, channels in ((sent[0], np.uint8, 3), (sent[1], np.uint16, 1)):
        message = one.message
        pixels = np.frombuffer(message.data, kind).reshape(message.height, message.width, channels)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST)
        made.append(Sent(one.topic, image_message(pixels, message.encoding, message.header)))
    return [*made, *sent[2:]]


def _under(message: Any, header: Any) -> Any:
    values = {name: getattr(message, name) for name in message.get_fields_and_field_types()}
    return type(message)(**{**values, "header": header})
