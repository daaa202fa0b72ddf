"""ROS 2 bags, mcap or sqlite3, read without ROS; colour and depth are paired and converted as the node does it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from math import isinf
from typing import TYPE_CHECKING, Any

from asymformer_ros.datasets.unlabelled.source import Broken, Item, SourceSpec, fingerprint
from asymformer_ros.datasets.unlabelled.topics import Topics, find_topics
from asymformer_ros.datasets.unlabelled.urls import AnyPath
from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.messages import frame_from_messages, image_size, intrinsics_of, is_for, stamp_ns
from asymformer_ros.frames.pairing import PAIR_TIMEOUT, SLOP, NearestStampPairing
from asymformer_ros.optional import importing

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader

_BESIDE = 1_500_000_000  # ns that are read before and behind a chunk: its frames' partners
_SECOND = 1_000_000_000
BAG_FILES = (".mcap", ".db3")
"""How the files of bags end."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stamped:
    """A message and when it was recorded, in nanoseconds."""

    message: Any
    recorded: int

    @property
    def header(self) -> Any:
        """The message's own."""
        return self.message.header


class BagSource:
    """The pairs of a bag. A chunk is a span of the recorder's time; it yields the pairs whose colour is within.

    Partners are looked for 1.5 s before and behind a chunk, so a frame is the same whichever chunks were read before.
    Colour that comes into no pair is Broken.
    Raises FrameError where the bag cannot be read, ConfigurationError where its topics are not clear.
    """

    def __init__(self, spec: SourceSpec, path: AnyPath) -> None:
        self._spec, self._path = spec, path
        self._reader = open_bag(path)
        connections = self._reader.connections
        self.all_topics = {one.topic for one in connections}
        self.topics: Topics = find_topics({one.topic: one.msgtype for one in connections}, spec.topics)
        first = self._reader.start_time + round(spec.first * _SECOND)
        last = self._reader.end_time  # as a float it would be off by up to 128 ns
        if not isinf(spec.last):
            last = min(last, self._reader.start_time + round(spec.last * _SECOND))
        step = round(spec.chunk * _SECOND)
        self.chunks = [(start, min(start + step, last)) for start in range(first, last, step)]
        if not self.chunks:
            length = (self._reader.end_time - self._reader.start_time) / _SECOND
            raise ConfigurationError(f"'{path}' is {length:.1f} s long: nothing from {spec.first:g} s on")
        count = sum(one.msgcount for one in connections if one.topic == self.topics.rgb)
        whole = max(1, self._reader.end_time - self._reader.start_time)
        self.about = max(1, round(count * (last - first) / whole / spec.every))
        self._has_compared = False
        self.facts = {"kind": "bag", "rgb": self.topics.rgb, "depth": self.topics.depth, "info": self.topics.info}

    @cached_property
    def fingerprint(self) -> str:
        """See Source."""
        return fingerprint(bag_files(self._path))

    def items(self, chunk: tuple[int, int]) -> Iterator[Item | Broken]:
        """See Source. Raises FrameError behind the last frame that can be read of a chunk that is damaged."""
        waiting: list[tuple[Stamped, Stamped | None]] = []
        clock = [0]
        pairing = NearestStampPairing(
            lambda rgb, depth: waiting.append((rgb, depth)),
            round(SLOP * _SECOND),
            PAIR_TIMEOUT,
            clock=lambda: clock[0] / _SECOND,
        )
        number, info = 0, self._first_info
        alone: list[tuple[int, int]] = []  # stamp and recording of this chunk's colour that has come into no pair yet
        for topic, message in self._messages(chunk):
            if isinstance(message, Broken):
                yield message
                continue
            clock[0] = message.recorded
            if topic == self.topics.info:
                info = message.message
            elif stamp_ns(message.header) < 0:
                yield Broken(f"{topic} at {message.recorded}", "its stamp is below zero")
            else:
                if topic == self.topics.rgb and chunk[0] <= message.recorded < chunk[1]:
                    alone.append((stamp_ns(message.header), message.recorded))
                pairing.add(message, int(topic == self.topics.depth))
            for item in self._within(waiting, alone, info):
                if number % self._spec.every == 0:
                    yield item
                number += isinstance(item, Item)
        pairing.finish()
        for item in self._within(waiting, alone, info):
            if number % self._spec.every == 0:
                yield item
            number += isinstance(item, Item)
        if number % self._spec.every == 0:
            yield from map(_without_depth, alone)

    def _within(self, waiting: list[Any], alone: list[tuple[int, int]], info: Any) -> Iterator[Item | Broken]:
        """The chunk's pairs of those that wait, each behind the colour that it leaves without a partner."""
        while waiting:
            rgb, depth = waiting.pop(0)
            self._compare(rgb, depth)
            stamp = stamp_ns(rgb.header)
            is_within = (stamp, rgb.recorded) in alone
            yield from (_without_depth(one) for one in alone if one[0] < stamp)
            alone[:] = [one for one in alone if one[0] >= stamp and one != (stamp, rgb.recorded)]
            if is_within:
                facts = {"stamp": stamp, "recorded": rgb.recorded, "depth_stamp": stamp_ns(depth.header)}
                other = _other_name(stamp, rgb.recorded)
                yield Item(str(stamp), partial(_frame, rgb, depth), facts, partial(_intrinsics, info), other)

    def _compare(self, rgb: Stamped, depth: Stamped) -> None:
        """Warn, once, where colour and depth are not in one camera's frame."""
        frames = rgb.header.frame_id, depth.header.frame_id
        if not self._has_compared and frames[0] != frames[1]:
            _log.warning(
                "'%s': colour '%s' is in the frame '%s' and depth '%s' in '%s': labels are only good where depth is "
                "registered to colour; name another topic with --depth-topic",
                *(self._path, self.topics.rgb, frames[0], self.topics.depth, frames[1]),
            )
        self._has_compared = True

    def _messages(self, chunk: tuple[int, int]) -> Iterator[tuple[str, Any]]:
        """Topic and Stamped, or Broken, of all messages in and around a chunk, in the order of recording."""
        wanted = [one for one in self._reader.connections if one.topic in self._names]
        span = (chunk[0] - _BESIDE, chunk[1] + _BESIDE)
        try:
            for connection, recorded, data in self._reader.messages(wanted, *span):
                try:
                    message = self._reader.deserialize(data, connection.msgtype)
                except Exception as error:  # whatever a damaged message makes of the parser
                    if chunk[0] <= recorded < chunk[1]:
                        yield connection.topic, Broken(f"{connection.topic} at {recorded}", _said(error))
                    continue
                yield connection.topic, Stamped(message, recorded)
        except Exception as error:
            raise FrameError(f"'{self._path}' cannot be read on from here: {_said(error)}") from error

    @property
    def _names(self) -> set[str]:
        return {self.topics.rgb, self.topics.depth, self.topics.info} - {""}

    @cached_property
    def _first_info(self) -> Any:
        """The bag's first calibration, which stands where the newest is from before a chunk's surroundings."""
        connections = [one for one in self._reader.connections if one.topic == self.topics.info]
        try:
            for connection, _, data in self._reader.messages(connections) if connections else ():
                return self._reader.deserialize(data, connection.msgtype)
        except Exception as error:
            raise FrameError(f"topic '{self.topics.info}' of '{self._path}': {_said(error)}") from error
        return None


def is_bag(path: AnyPath) -> bool:
    """Whether a path is a bag: a folder with metadata.yaml, or the one file of a bag."""
    return (path / "metadata.yaml").exists() if path.is_dir() else path.suffix in BAG_FILES


def bag_files(path: AnyPath) -> list[AnyPath]:
    """The files of a bag."""
    inside: list[AnyPath] = [*path.iterdir()] if path.is_dir() else [path]
    return [one for one in sorted(inside, key=str) if one.is_file()]


def open_bag(path: AnyPath) -> AnyReader:
    """A bag, open; messages without definitions, as of older recorders, are read as those of Jazzy.

    Raises FrameError where it cannot be read.
    """
    with importing("rosbags", f"the bag '{path}'"):
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as error:  # a damaged file makes the reader raise what it likes
        raise FrameError(f"'{path}' is no bag that can be read: {_said(error)}") from error
    return reader


def _without_depth(rgb: tuple[int, int]) -> Broken:
    said = f"no depth within {SLOP * 1000:g} ms of its stamp"
    return Broken(str(rgb[0]), said, is_fault=False, other_name=_other_name(*rgb))


def _other_name(stamp: int, recorded: int) -> str:
    """Of colour whose stamp is that of an earlier one, as where a simulation begins again: the same in any chunk."""
    return f"{stamp}-{recorded}"


def _frame(rgb: Stamped, depth: Stamped) -> RgbdFrame:
    return frame_from_messages(rgb.message, depth.message)


def _intrinsics(info: Any, size: tuple[int, int]) -> Intrinsics:
    if info is None:
        raise FrameError("the bag has no camera info of the colour camera: name its topic with --info-topic")
    if not is_for(info, size):
        height, width = image_size(info)
        raise FrameError(f"camera info is for {width}x{height} but the colour image is {size[1]}x{size[0]}")
    return intrinsics_of(info, size)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
