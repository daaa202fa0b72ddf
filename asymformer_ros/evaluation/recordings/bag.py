"""A bag of the original topics with `segmentation/*` beside them, for players and viewers."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asymformer_ros.datasets.unlabelled.bag import BagSource, open_bag
from asymformer_ros.datasets.unlabelled.urls import any_path
from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.evaluation.recordings.definitions import CLASS_SUMMARY, LABEL_INFO, SUMMARY, VISION_CLASS
from asymformer_ros.evaluation.recordings.job import Job
from asymformer_ros.evaluation.recordings.results import Line
from asymformer_ros.evaluation.recordings.store import Store, StoreError
from asymformer_ros.frames.images import decode_labels
from asymformer_ros.frames.messages import stamp_ns
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.optional import importing

if TYPE_CHECKING:
    from rosbags.rosbag2 import Writer

BAG = "bag"
_METADATA = "metadata.yaml"
_VERSION = 8  # of it: the newest that Humble plays, too
_NO_HASH = f"RIHS01_{0:064}"
_TOPICS = {
    "labels": "sensor_msgs/msg/Image",
    "overlay/compressed": "sensor_msgs/msg/CompressedImage",
    "summary": "asymformer_ros/msg/SegmentationSummary",
    "label_info": "vision_msgs/msg/LabelInfo",
}
_PLACES = {name: f"/segmentation/{name}" for name in _TOPICS}
_log = logging.getLogger(__name__)


def require_no_results(source: BagSource, path: str) -> None:
    """Raises ConfigurationError where a bag has topics that `write_bag` would add."""
    if taken := sorted(source.all_topics & set(_PLACES.values())):
        raise ConfigurationError(f"'{path}' has {', '.join(taken)}: --bag would mix two runs")


def write_bag(job: Job, source: BagSource, lines: Sequence[Line], classes: LabelSet) -> None:
    """Write it as an mcap bag, whole or not at all, where it is not there. lines: the summary's.

    Raises StoreError where it cannot be written, FrameError where the original cannot be read to its end.
    """
    store = job.store
    if (store.root / BAG / _METADATA).exists():
        return
    with importing("rosbags", "a bag of the results"):
        from rosbags.rosbag2 import StoragePlugin, Writer
    root = store.root
    staging = root / store.staging if isinstance(root, Path) else None
    try:
        if staging is not None:
            staging.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="asymformer_", dir=staging) as folder:
            made = Path(folder) / BAG
            with Writer(made, version=_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
                _Copy(job, source, store, classes, writer).run(lines)
            if isinstance(root, Path):
                os.rename(made, root / BAG)
            else:
                for file in sorted(made.iterdir(), key=lambda file: file.name == _METADATA):
                    store.put(file, f"{BAG}/{file.name}")  # the metadata last: with them it is whole
    except OSError as error:
        raise StoreError(f"cannot write the bag to '{job.place}': {error.strerror or error}") from error


class _Copy:
    """A copy under way."""

    def __init__(self, job: Job, source: BagSource, store: Store, classes: LabelSet, writer: Writer) -> None:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        self._job, self._source, self._store, self._classes, self._writer = job, source, store, classes, writer
        self._reader = open_bag(any_path(job.spec.path))
        self._types = get_typestore(Stores.ROS2_JAZZY)
        for name, text in (
            ("vision_msgs/msg/VisionClass", VISION_CLASS),
            ("vision_msgs/msg/LabelInfo", LABEL_INFO),
            ("asymformer_ros/msg/ClassSummary", CLASS_SUMMARY),
            ("asymformer_ros/msg/SegmentationSummary", SUMMARY),
        ):
            self._types.register(get_types_from_msg(text, name))

    def run(self, lines: Sequence[Line]) -> None:
        found = {(line["recorded"], line["stamp"]): line for line in lines if "recorded" in line}
        times = {recorded for recorded, _ in found}
        originals: dict[tuple[str, str], Any] = {}
        for one in self._reader.connections:
            kind = one.topic, one.msgtype  # of which tools that merge bags leave several
            if kind not in originals:
                originals[kind] = self._original(one)
        results = {name: self._result(name, topic) for name, topic in _PLACES.items()}
        self._write(results, "label_info", self._reader.start_time, self._label_info(self._reader.start_time))
        for connection, recorded, data in self._messages():
            self._writer.write(originals[connection.topic, connection.msgtype], recorded, data)
            if connection.topic == self._source.topics.rgb and recorded in times:
                header = self._reader.deserialize(data, connection.msgtype).header  # type: ignore[attr-defined]
                if line := found.pop((recorded, stamp_ns(header)), None):
                    for name, message in self._of_frame(line, self._header(header.stamp, header.frame_id)):
                        self._write(results, name, recorded, message)
        self._reader.close()

    def _messages(self) -> Iterator[tuple[Any, int, bytes]]:
        try:
            yield from self._reader.messages()
        except OSError:
            raise
        except Exception as error:  # a damaged file makes the reader raise what it likes
            raise FrameError(f"'{self._job.spec.path}' cannot be copied to its end, no bag comes: {error}") from error

    def _original(self, connection: Any) -> Any:
        definition: dict[str, Any] = {"typestore": self._reader.typestore}
        if connection.msgtype not in self._reader.typestore.fielddefs:
            _log.warning(
                "'%s' has no definition of %s: '%s' is copied, and is shown only where that type is installed",
                *(self._job.spec.path, connection.msgtype, connection.topic),
            )
            definition = {"msgdef": "", "rihs01": connection.digest or _NO_HASH}
        offered = connection.ext.offered_qos_profiles
        return self._writer.add_connection(
            connection.topic, connection.msgtype, **definition, offered_qos_profiles=offered
        )

    def _result(self, name: str, topic: str) -> Any:
        qos = [_qos(is_latched=name == "label_info")]
        return self._writer.add_connection(topic, _TOPICS[name], typestore=self._types, offered_qos_profiles=qos)

    def _write(self, connections: Mapping[str, Any], name: str, recorded: int, message: object) -> None:
        self._writer.write(connections[name], recorded, self._types.serialize_cdr(message, _TOPICS[name]))

    def _header(self, stamp: Any, frame_id: str) -> Any:
        time = self._types.types["builtin_interfaces/msg/Time"](sec=stamp.sec, nanosec=stamp.nanosec)
        return self._types.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)

    def _label_info(self, at: int) -> object:
        stamp = self._types.types["builtin_interfaces/msg/Time"](sec=at // 10**9, nanosec=at % 10**9)
        one = self._types.types["vision_msgs/msg/VisionClass"]
        entries = [one(class_id=index, class_name=name) for index, name in enumerate(self._classes.names)]
        return self._types.types[_TOPICS["label_info"]](
            header=self._header(stamp, ""), class_map=entries, threshold=self._job.min_confidence
        )

    def _of_frame(self, line: Line, header: Any) -> Iterator[tuple[str, object]]:
        image, overlay = (self._types.types[_TOPICS[name]] for name in ("labels", "overlay/compressed"))
        labels: Any = decode_labels(self._content(str(line["labels"])))
        yield (
            "labels",
            image(
                header=header,
                height=labels.shape[0],
                width=labels.shape[1],
                encoding="mono8",
                is_bigendian=0,
                step=labels.shape[1],
                data=labels.reshape(-1),
            ),
        )
        yield "overlay/compressed", overlay(header=header, format="jpeg", data=self._content(str(line["overlay"])))
        yield "summary", self._summary(line, header)

    def _summary(self, line: Line, header: Any) -> object:
        entry = self._types.types["asymformer_ros/msg/ClassSummary"]
        classes: Any = line["classes"]
        nan = float("nan")
        return self._types.types[_TOPICS["summary"]](
            header=header,
            classes=[
                entry(
                    id=one["label"],
                    name=one["name"],
                    pixel_fraction=one["pixel_fraction"],
                    mean_confidence=one["mean_confidence"],
                    nearest_distance=nan if one["nearest_distance"] is None else one["nearest_distance"],
                    centroid_x=one["centroid"][0],
                    centroid_y=one["centroid"][1],
                )
                for one in classes
            ],
            unlabelled_fraction=max(0.0, 1.0 - sum(one["pixel_fraction"] for one in classes)),
            rgb_only=False,
            model=self._job.model,
            backend="",
            engine="",
            **dict.fromkeys(("convert_ms", "preprocess_ms", "inference_ms", "postprocess_ms", "age_ms"), nan),
        )

    def _content(self, name: str) -> Any:
        content = self._store.read(name)
        if content is None:
            raise StoreError(f"'{name}' is gone from '{self._store.place}'")
        return np.frombuffer(content, np.uint8)


def _qos(*, is_latched: bool) -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    never = QosTime(9_223_372_036, 854_775_807)  # rmw's RMW_DURATION_INFINITE
    durability = QosDurability.TRANSIENT_LOCAL if is_latched else QosDurability.VOLATILE
    return Qos(
        QosHistory.KEEP_LAST,
        1 if is_latched else 10,
        QosReliability.RELIABLE,
        durability,
        never,
        never,
        QosLiveliness.AUTOMATIC,
        never,
        False,
    )
