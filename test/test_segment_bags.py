"""`asymformer segment` on ROS 2 bags, which are written and read without ROS; and beside the node, over DDS."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
pytest.importorskip("rosbags", reason="needs rosbags")
pytest.importorskip("tqdm", reason="needs tqdm")
from bag_files import DEPTH, INFO, RGB, START, STEP, TYPES, compressed, image, write_bag
from conftest import not_ours
from rgbd_frames import frames
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from test_cli_segment import labels, lines, segment

import asymformer_ros
from asymformer_ros.datasets.unlabelled import SourceSpec, open_source
from asymformer_ros.datasets.unlabelled.topics import COMPRESSED, IMAGE, find_topics
from asymformer_ros.datasets.unlabelled.topics import INFO as INFO_TYPE
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.recordings import definitions
from asymformer_ros.evaluation.recordings.job import Part
from asymformer_ros.evaluation.recordings.results import Counts, Results
from asymformer_ros.frames.images import read_labels
from asymformer_ros.frames.messages import frame_from_messages
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.models.labels import LabelSet

FRAMES = frames(6)
MSG = Path(__file__).parents[1] / "msg"
LATCHED, VOLATILE = 1, 2


@pytest.fixture(scope="module")
def truth() -> list[np.ndarray]:
    with asymformer_ros.load("demo") as segmenter:
        return [segmenter(rgb, depth).labels for rgb, depth in FRAMES]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "drive", FRAMES)


def shown(bag: Path) -> list[np.ndarray]:
    """The labels in a bag of results."""
    with AnyReader([bag]) as reader:
        (of_labels,) = [one for one in reader.connections if one.topic == "/segmentation/labels"]
        messages = [reader.deserialize(data, of_labels.msgtype) for _, _, data in reader.messages([of_labels])]
    return [one.data.reshape(one.height, one.width) for one in messages]


@pytest.mark.parametrize("form", ["folder", "file"])
@pytest.mark.parametrize("transport", ["raw", "compressed"])
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_gives_the_labels_of_its_frames_by_their_stamps(
    storage: StoragePlugin, transport: str, form: str, tmp_path: Path, truth: list[np.ndarray]
) -> None:
    bag = write_bag(tmp_path / "drive", FRAMES, storage=storage, transport=transport)
    path = bag if form == "folder" else next(one for one in bag.iterdir() if one.suffix != ".yaml")
    assert segment(path, "-o", tmp_path / "out") == 0
    np.testing.assert_array_equal(labels(tmp_path / "out"), truth)
    stamps = [START + number * STEP for number in range(6)]
    assert [(line["name"], line["stamp"]) for line in lines(tmp_path / "out")] == [(str(at), at) for at in stamps]


def test_chunks_lose_and_double_nothing(bag: Path, tmp_path: Path) -> None:
    """Each frame is a chunk of its own; its depth is in the next one."""
    for name, chunk in (("whole", 60), ("cut", 0.004)):
        assert segment(bag, "-o", tmp_path / name, "--chunk", chunk) == 0
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert len(lines(tmp_path / "cut")) == 6


def test_every_from_and_to_choose_by_seconds(bag: Path, tmp_path: Path) -> None:
    assert segment(bag, "-o", tmp_path / "out", "--from", 0.1, "--to", 0.45, "--every", 2) == 0
    assert [(line["stamp"] - START) // STEP for line in lines(tmp_path / "out")] == [1, 3]


def test_a_damaged_message_is_named_and_the_rest_goes_on(tmp_path: Path, truth: list[np.ndarray]) -> None:
    bag = write_bag(tmp_path / "drive", FRAMES, damaged=[2])
    assert segment(bag, "-o", tmp_path / "out") == 3
    np.testing.assert_array_equal(labels(tmp_path / "out"), [*truth[:2], *truth[3:]])
    (broken,) = [line for line in lines(tmp_path / "out") if "error" in line]
    assert broken["name"] == f"{RGB} at {START + 2 * STEP + 1_000_000}"
    assert segment(bag, "-o", tmp_path / "strict", "--strict") == 1


def test_colour_that_no_depth_fits_is_named_in_its_place(
    tmp_path: Path, truth: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "drive", FRAMES, depth_late={0: 30_000_000, 3: 30_000_000, 5: 30_000_000})
    assert segment(bag, "-o", tmp_path / "out", "--strict") == 0
    assert "3 frames segmented, 0 broken, 3 colour images without depth" in capsys.readouterr().out
    np.testing.assert_array_equal(labels(tmp_path / "out"), [truth[1], truth[2], truth[4]])
    assert [line["name"] for line in lines(tmp_path / "out")] == [str(START + number * STEP) for number in range(6)]
    said = {number: line["error"] for number, line in enumerate(lines(tmp_path / "out")) if "error" in line}
    assert said == dict.fromkeys((0, 3, 5), "no depth within 20 ms of its stamp")


def test_a_bag_where_no_depth_fits_is_not_done(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", FRAMES, depth_late=dict.fromkeys(range(6), 30_000_000))
    assert segment(bag, "-o", tmp_path / "out") == 3
    assert len([line for line in lines(tmp_path / "out") if "error" in line]) == 6


@pytest.mark.parametrize("chunk", [60, 0.9])
def test_frames_whose_stamps_repeat_are_neither_lost_nor_doubled(
    chunk: float, tmp_path: Path, truth: list[np.ndarray]
) -> None:
    """As where a simulation began again: the later ones have their time of recording in their name, in any chunk."""
    step = 4 * STEP  # 0.8 s back is a jump in time
    bag = write_bag(tmp_path / "drive", FRAMES[:3], repeats=2, turned=True, step=step)
    out = tmp_path / "out"
    assert segment(bag, "-o", out, "--chunk", chunk, "--bag") == 0
    np.testing.assert_array_equal(labels(out), [truth[at] for at in (0, 1, 2, 2, 1, 0)])
    stamps = [START + number * step for number in range(3)]
    recorded = [START + number * step + 1_000_000 for number in range(6)]
    later = [f"{stamp}-{at}" for stamp, at in zip(stamps, recorded[3:], strict=True)]
    assert [line["name"] for line in lines(out)] == [*map(str, stamps), *later]
    assert [line["recorded"] for line in lines(out)] == recorded
    np.testing.assert_array_equal(shown(out / "bag"), labels(out))


@pytest.mark.parametrize(("given_up", "left"), [(0, [2, 1, 0]), (1, [0, 1, 2, 0])])  # whose labels
def test_a_chunk_that_is_given_up_spoils_no_frame_whose_stamp_it_has(
    given_up: int, left: list[int], tmp_path: Path, truth: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of chunks with the stamps 0, 1, 2; 0, 1; and 2. Before it was given up, all of its frames were written."""
    finish = Results.finish

    def given_up_before(self: Results, classes: LabelSet, do_again: Callable[[int], Part]) -> Counts:
        self.give_up(given_up, "it ends its workers")
        return finish(self, classes, do_again)

    monkeypatch.setattr(Results, "finish", given_up_before)
    bag = write_bag(tmp_path / "drive", FRAMES[:3], repeats=2, turned=True, step=4 * STEP)
    assert segment(bag, "-o", tmp_path / "out", "--chunk", 0.9) == 3
    done = [line for line in lines(tmp_path / "out") if "error" not in line]
    np.testing.assert_array_equal(labels(tmp_path / "out"), [truth[at] for at in left])
    assert [(line["stamp"] - START) // (4 * STEP) for line in done] == [0, 1, 2, 2][: len(left)]
    assert len(lines(tmp_path / "out")) == 7


def test_the_last_nanoseconds_of_a_bag_belong_to_its_last_chunk(bag: Path) -> None:
    """As a float its end would be rounded to multiples of 256 ns."""
    source = open_source(SourceSpec(str(bag)))
    (chunk,) = source.chunks
    assert chunk == (START, START + 5 * STEP + 6_000_001)


@pytest.mark.parametrize("depth_frame", ["camera", "depth_optical"])
def test_depth_in_another_frame_is_told_once(
    depth_frame: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = write_bag(tmp_path / "drive", FRAMES, depth_frame=depth_frame)
    assert segment(bag, "-o", tmp_path / "out", "--chunk", 0.2) == 0
    told = [one.getMessage() for one in caplog.records if "registered to colour" in one.getMessage()]
    assert len(told) == (depth_frame != "camera")
    assert all("'depth_optical'" in one for one in told)


def test_a_bag_that_ends_in_the_middle_is_one_sentence(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:1000])
    assert segment(bag, "-o", tmp_path / "out") == 1
    assert re.search(r"'.*drive' is no bag that can be read: ", capsys.readouterr().err)


def test_a_bag_without_metadata_is_one_sentence(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    assert segment(bag, "-o", tmp_path / "out") == 1
    assert "drive' is no bag that can be read: " in capsys.readouterr().err.splitlines()[-1]
    (bag / "metadata.yaml").unlink()
    assert segment(bag, "-o", tmp_path / "out") == 1
    assert "has no metadata.yaml" in (said := capsys.readouterr().err)
    assert said.endswith(": drive.mcap\n")


def test_points_use_the_bag_s_calibration(bag: Path, tmp_path: Path) -> None:
    assert segment(bag, "-o", tmp_path / "out", "--points", "ply") == 0
    _, _, data = (tmp_path / "out" / lines(tmp_path / "out")[0]["points"]).read_bytes().partition(b"end_header\n")
    cloud = np.frombuffer(data, [(name, "<f4") for name in "xyz"] + [("rest", "u1", 8)])
    _, depth = FRAMES[0]
    columns = np.nonzero(depth)[1]
    np.testing.assert_allclose(cloud["x"], (columns - 48) / (0.9 * 96) * depth[depth > 0] / 1000, atol=1e-5)


def test_a_second_reader_opens_the_bag_of_results(bag: Path, tmp_path: Path, truth: list[np.ndarray]) -> None:
    """The original topics and segmentation/*, with the original stamps; label_info is latched."""
    reader = pytest.importorskip("mcap.reader", reason="needs mcap")
    decoder = pytest.importorskip("mcap_ros2.decoder", reason="needs mcap-ros2-support")
    out = tmp_path / "out"
    assert segment(bag, "-o", out, "--bag") == 0
    with (out / "bag/bag.mcap").open("rb") as file:
        mcap = reader.make_reader(file, decoder_factories=[decoder.DecoderFactory()])
        offers = {c.topic: c.metadata["offered_qos_profiles"] for c in mcap.get_summary().channels.values()}
        messages: dict[str, list[Any]] = {}
        for _, channel, message, decoded in mcap.iter_decoded_messages():
            messages.setdefault(channel.topic, []).append((message.log_time, decoded))
    counts = {name: len(found) for name, found in messages.items()}
    results = ("labels", "overlay/compressed", "summary")
    assert counts == {
        **dict.fromkeys((RGB, DEPTH, INFO), 6),
        **{f"/segmentation/{name}": 6 for name in results},
        "/segmentation/label_info": 1,
    }
    headers = {
        name: [(logged, one.header.stamp.sec, one.header.stamp.nanosec, one.header.frame_id) for logged, one in found]
        for name, found in messages.items()
    }
    assert all(headers[f"/segmentation/{name}"] == headers[RGB] for name in results)
    shown = [np.frombuffer(one.data, np.uint8).reshape(72, 96) for _, one in messages["/segmentation/labels"]]
    np.testing.assert_array_equal(shown, truth)
    jpeg = cv2.imdecode(np.frombuffer(messages["/segmentation/overlay/compressed"][0][1].data, np.uint8), 1)
    assert jpeg.shape == (72, 96, 3)
    (_, info), *_ = messages["/segmentation/label_info"]
    assert [one.class_id for one in info.class_map] == list(range(40))
    assert info.class_map[4].class_name == "chair"
    assert [durability(offers[f"/segmentation/{name}"]) for name in ("label_info", "labels")] == [LATCHED, VOLATILE]
    _, summary = messages["/segmentation/summary"][0]
    assert summary.classes[0].name == lines(out)[0]["classes"][0]["name"]


def durability(offered: str) -> int:
    """Of recorded QoS, as rmw numbers it; Humble takes QoS only as a text with numbers."""
    (qos,) = yaml.safe_load(offered)
    never = {"sec": 9223372036, "nsec": 854775807}
    assert [qos[name] for name in ("deadline", "lifespan", "liveliness_lease_duration")] == [never] * 3
    assert (qos["history"], qos["reliability"], qos["liveliness"]) == (1, 1, 1)
    return int(qos["durability"])


def metadata_topics(bag: Path) -> dict[str, Any]:
    """Of each topic in metadata.yaml what it says, which is of the newest version that Humble plays."""
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["version"] == 8
    return {one["topic_metadata"]["name"]: one["topic_metadata"] for one in information["topics_with_message_count"]}


def test_the_metadata_of_a_bag_of_results_are_those_that_humble_plays(bag: Path, tmp_path: Path) -> None:
    assert segment(bag, "-o", tmp_path / "out", "--bag", "--every", 6) == 0
    topics = metadata_topics(tmp_path / "out/bag")
    assert durability(topics["/segmentation/label_info"]["offered_qos_profiles"]) == LATCHED
    assert durability(topics["/segmentation/summary"]["offered_qos_profiles"]) == VOLATILE
    assert topics[RGB]["offered_qos_profiles"] == ""


def test_a_topic_whose_type_nobody_knows_is_copied_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a bag of sqlite3 from Humble, which holds no definitions."""
    bag = write_bag(tmp_path / "drive", FRAMES[:1], storage=StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(bag / "drive.db3")) as base:
        base.execute("INSERT INTO topics VALUES (9, '/thing', 'my_msgs/msg/Thing', 'cdr', '', '')")
        base.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (9, ?, x'00010000')", (START + 1,))
        base.commit()
    text = (bag / "metadata.yaml").read_text()
    topic = "name: /thing, type: my_msgs/msg/Thing, serialization_format: cdr, offered_qos_profiles: ''"
    entry = (
        f"topics_with_message_count:\n  - {{message_count: 1, topic_metadata: {{{topic}, type_description_hash: ''}}}}"
    )
    (bag / "metadata.yaml").write_text(text.replace("topics_with_message_count:", entry))
    assert segment(bag, "-o", tmp_path / "out", "--bag") == 0
    assert metadata_topics(tmp_path / "out/bag")["/thing"]["type"] == "my_msgs/msg/Thing"
    assert "'/thing' is copied" in caplog.text
    with Reader(tmp_path / "out/bag") as reader:
        assert [bytes(data) for one, _, data in reader.messages() if one.topic == "/thing"] == [b"\0\1\0\0"]


def test_a_topic_of_several_connections_as_tools_leave_them_that_merge_is_one_topic(tmp_path: Path) -> None:
    mcap = pytest.importorskip("mcap.writer", reason="needs mcap")
    with AnyReader([write_bag(tmp_path / "drive", FRAMES[:2])]) as reader, (tmp_path / "two.mcap").open("wb") as file:
        writer = mcap.Writer(file)
        writer.start("ros2", "")
        for one, recorded, data in reader.messages():
            schema = writer.register_schema(one.msgtype, "ros2msg", one.msgdef.data.encode())
            channel = writer.register_channel(one.topic, "cdr", schema, {"offered_qos_profiles": ""})
            writer.add_message(channel, recorded, bytes(data), recorded)
        writer.finish()
    assert segment(tmp_path / "two.mcap", "-o", tmp_path / "out", "--bag") == 0
    with Reader(tmp_path / "out/bag") as results:
        counts = {one.topic: one.msgcount for one in results.connections}
    assert counts == {
        **dict.fromkeys((RGB, DEPTH, INFO), 2),
        **dict.fromkeys(("/segmentation/labels", "/segmentation/overlay/compressed", "/segmentation/summary"), 2),
        "/segmentation/label_info": 1,
    }


def test_frames_of_one_time_of_recording_all_have_their_labels_in_the_bag_of_results(
    tmp_path: Path, truth: list[np.ndarray]
) -> None:
    """As in a bag that was converted from another format, which knew no such times."""
    with (
        AnyReader([write_bag(tmp_path / "drive", FRAMES[:2])]) as reader,
        Writer(tmp_path / "at_once", version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        copies = {one.id: writer.add_connection(one.topic, one.msgtype, typestore=TYPES) for one in reader.connections}
        for one, _, data in reader.messages():
            writer.write(copies[one.id], START, data)
    assert segment(tmp_path / "at_once", "-o", tmp_path / "out", "--bag") == 0
    np.testing.assert_array_equal(labels(tmp_path / "out"), truth[:2])
    np.testing.assert_array_equal(shown(tmp_path / "out/bag"), truth[:2])


def test_a_bag_that_was_left_half_behind_a_url_is_written_again(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = pytest.importorskip("fsspec", reason="opens URLs").filesystem("memory")

    def half(*_: object) -> None:
        memory.touch("/half/bag/bag.mcap")
        raise OSError("the connection is lost")

    options = (bag, "-o", "memory://half", "--to", 0.15, "--bag")
    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "put_file", half)
        assert segment(*options) == 1
    assert memory.exists("/half/bag/bag.mcap")
    assert segment(*options) == 0
    assert {Path(name).name for name in memory.ls("/half/bag", detail=False)} == {"bag.mcap", "metadata.yaml"}
    assert memory.size("/half/bag/bag.mcap") > 0


def test_a_bag_of_results_is_made_of_labels_with_a_palette_too_and_replaced_by_none(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, more in (("plain", ()), ("indexed", ("--palette",))):
        assert segment(bag, "-o", tmp_path / name, "--bag", "--min-confidence", 0.5, *more) == 0
    files = [(tmp_path / name / "bag/bag.mcap").read_bytes() for name in ("plain", "indexed")]
    assert files[0] == files[1]
    assert segment(tmp_path / "plain/bag", "-o", tmp_path / "again", "--bag") == 1
    assert "--bag would mix two runs" in capsys.readouterr().err
    assert not [*tmp_path.glob("again/*")]  # it is told before anything is segmented


@pytest.mark.parametrize(
    ("name", "text"),
    [("ClassSummary", definitions.CLASS_SUMMARY), ("SegmentationSummary", definitions.SUMMARY)],
)
def test_the_definitions_in_a_bag_are_those_of_the_package(name: str, text: str) -> None:
    stated = [line.partition("#")[0].split() for line in (MSG / f"{name}.msg").read_text().splitlines()]
    assert [line.split() for line in text.splitlines()] == [line for line in stated if line]


REALSENSE = {
    "/camera/camera/color/image_raw": IMAGE,
    "/camera/camera/color/camera_info": INFO_TYPE,
    "/camera/camera/depth/image_rect_raw": IMAGE,
    "/camera/camera/aligned_depth_to_color/image_raw": IMAGE,
    "/camera/camera/infra1/image_rect_raw": IMAGE,
}
KINECT = {
    "/rgb/image_raw/compressed": COMPRESSED,
    "/rgb/camera_info": INFO_TYPE,
    "/depth_to_rgb/image_raw/compressedDepth": COMPRESSED,
    "/segmentation/overlay": IMAGE,
}
IRIS = {"/iris/color/image": IMAGE, "/iris/depth/image": IMAGE, "/ir/image_raw": IMAGE, "/ir2_depth": IMAGE}
PLAIN = {"/cam/image": IMAGE, "/cam/image/compressed": COMPRESSED, "/cam/depth": IMAGE, "/cam/camera_info": INFO_TYPE}


@pytest.mark.parametrize(
    ("types", "found"),
    [
        (
            REALSENSE,
            (
                "/camera/camera/color/image_raw",
                "/camera/camera/aligned_depth_to_color/image_raw",
                "/camera/camera/color/camera_info",
            ),
        ),
        (KINECT, ("/rgb/image_raw/compressed", "/depth_to_rgb/image_raw/compressedDepth", "/rgb/camera_info")),
        (IRIS, ("/iris/color/image", "/iris/depth/image", "")),
        (PLAIN, ("/cam/image", "/cam/depth", "/cam/camera_info")),
    ],
)
def test_topics_are_found_by_type_and_name(types: dict[str, str], found: tuple[str, str, str]) -> None:
    topics = find_topics(types, ("", "", ""))
    assert (topics.rgb, topics.depth, topics.info) == found


@pytest.mark.parametrize(
    ("types", "given", "said"),
    [
        (
            {"/a/color/image": IMAGE, "/b/color/image": IMAGE, "/depth": IMAGE},
            ("", "", ""),
            "2 topics may be colour.*--rgb",
        ),
        ({"/a/color/image": IMAGE}, ("", "", ""), "no topic is depth; name one with --depth-topic"),
        ({"/a": IMAGE}, ("/b", "", ""), "has no topic '/b'"),
    ],
)
def test_topics_that_are_not_clear_are_named(types: dict[str, str], given: tuple[str, str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        find_topics(types, given)


def test_a_bag_s_messages_become_the_same_frame_as_the_node_s() -> None:
    """compressedDepth and bayer, as they come from a reader of bags."""
    rgb, depth = FRAMES[0]
    packed = compressed(depth, "16UC1; compressedDepth png", START, head=bytes(12))
    mosaic = image(np.ascontiguousarray(rgb[..., 1]), "bayer_rggb8", START)
    frame = frame_from_messages(mosaic, packed)
    np.testing.assert_array_equal(frame.rgb, cv2.cvtColor(rgb[..., 1], cv2.COLOR_BayerBG2RGB))
    np.testing.assert_allclose(np.nan_to_num(frame.depth), depth / 1000, atol=1e-6)
    assert TYPES.serialize_cdr(packed, COMPRESSED)


def kitchen() -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames of a real camera."""
    recording = RgbdRecording(not_ours("kitchen_sequence"))
    return [(raw.rgb, raw.depth) for raw in map(recording.raw, range(0, len(recording), len(recording) // 4))]


@pytest.mark.ros
@pytest.mark.parametrize("content", [lambda: FRAMES, kitchen], ids=["drawn", "kitchen"])
def test_the_node_answers_the_bag_s_messages_with_the_same_labels(
    content: Any, tmp_path: Path, start_peer: Any, start_node: Any
) -> None:
    """The bag's own bytes go over DDS; the node's labels are those of `segment`, pixel for pixel."""
    from node_session import Session
    from rclpy.serialization import deserialize_message
    from ros_harness import stamps, wait_until
    from sensor_msgs.msg import Image

    bag = write_bag(tmp_path / "drive", content())
    assert segment(bag, "-o", tmp_path / "out") == 0
    peer, domain = start_peer()
    session = (
        Session(peer, start_node(domain, "-p", "temporal_smoothing:=false", model="demo")).listen("labels").connected()
    )
    with Reader(bag) as reader:
        sent = [
            (one.topic, deserialize_message(bytes(data), Image))
            for one, _, data in reader.messages()
            if one.topic != INFO
        ]
    colours, depths = ([message for topic, message in sent if topic == wanted] for wanted in (RGB, DEPTH))
    for line, rgb, depth in zip(lines(tmp_path / "out"), colours, depths, strict=True):

        def answered(line: Any = line, rgb: Image = rgb, depth: Image = depth) -> bool:
            session.node.require_alive()
            session.rgb.publish(rgb)
            session.depth.publish(depth)
            time.sleep(0.3)
            return line["stamp"] in stamps(session.received["labels"])

        wait_until(answered, f"labels of {line['name']}; the node said:\n{session.node.output}")
        answer = next(one for one in session.received["labels"] if stamps([one])[0] == line["stamp"])
        shown = np.frombuffer(answer.data, np.uint8).reshape(answer.height, answer.width)
        np.testing.assert_array_equal(shown, read_labels(tmp_path / "out" / line["labels"]))


@pytest.mark.ros
def test_a_bag_of_results_plays(bag: Path, tmp_path: Path, start_peer: Any, truth: list[np.ndarray]) -> None:
    """Its bytes go over DDS as the messages that they are; all but `label_info`, whose package is not on the index."""
    from ros_harness import stamps, wait_until

    assert segment(bag, "-o", tmp_path / "out", "--bag") == 0
    peer, _ = start_peer()
    topics = metadata_topics(tmp_path / "out/bag").values()
    types = {one["name"]: one["type"].split("/") for one in topics if "vision_msgs" not in one["type"]}
    classes = {name: getattr(import_module(f"{kind[0]}.msg"), kind[2]) for name, kind in types.items()}
    heard = {name: peer.listen(kind, name) for name, kind in classes.items()}
    players = {name: peer.node.create_publisher(kind, name, 10) for name, kind in classes.items()}
    wait_until(lambda: all(player.get_subscription_count() for player in players.values()), "subscriptions")
    with Reader(tmp_path / "out/bag") as reader:
        for one, _, data in reader.messages([one for one in reader.connections if one.topic in players]):
            players[one.topic].publish(bytes(data))
    wait_until(lambda: all(len(messages) == 6 for messages in heard.values()), "all messages")
    labels = heard["/segmentation/labels"]
    np.testing.assert_array_equal([np.asarray(one.data).reshape(one.height, one.width) for one in labels], truth)
    assert all(stamps(heard[name]) == stamps(heard[RGB]) for name in heard if name.startswith("/segmentation/"))
    assert heard["/segmentation/summary"][0].classes[0].name == lines(tmp_path / "out")[0]["classes"][0]["name"]
