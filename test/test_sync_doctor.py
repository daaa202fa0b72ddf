"""The sync doctor names what is wrong with two streams, and nothing where they are sound."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="needs hypothesis")
from hypothesis import given
from hypothesis import strategies as st

from asymformer_ros.findings import SEVERITIES, Finding
from asymformer_ros.node.observation import Content, Observation, Publisher, Stream
from asymformer_ros.node.sync_doctor import Attention, examine

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
NOW = 1000.0
CLOCK = 1_700_000_000 * 10**9


def stream(name: str = "colour", rate: float = 30.0, count: int = 60, late: float = 0.02, **changes: Any) -> Stream:
    """A sound stream, whose newest image arrived just now; `late`: seconds from its stamp to its arrival."""
    base = "rgb" if name == "colour" else "depth"
    arrivals = tuple(NOW - 0.01 - (count - 1 - number) / rate for number in range(count))
    values: dict[str, Any] = {
        "name": name,
        "topic": f"/{base}/image",
        "type": IMAGE,
        "parameter": "image_transport" if name == "colour" else "depth_image_transport",
        "publishers": (Publisher("/camera", IMAGE),),
        "arrivals": arrivals,
        "stamps": tuple(CLOCK + round((time - NOW - late) * 1e9) for time in arrivals),
        "first": arrivals[0] if arrivals else 0.0,
        "size": (640, 480),
        "encoding": "rgb8" if name == "colour" else "16UC1",
        "frame_id": "camera_color_optical_frame",
    }
    return Stream(**{**values, **changes})


def shifted(one: Stream, seconds: float) -> Stream:
    """Other stamps for the same arrivals."""
    return replace(one, stamps=tuple(stamp + round(seconds * 1e9) for stamp in one.stamps))


def silent(name: str, *publishers: Publisher, **changes: Any) -> Stream:
    return stream(name, arrivals=(), stamps=(), first=0.0, publishers=publishers, size=None, encoding="", **changes)


COLOUR, DEPTH, INFO = stream(), stream("depth"), Stream("camera info", "/rgb/camera_info", "sensor_msgs/msg/CameraInfo")


def seen(colour: Stream = COLOUR, depth: Stream = DEPTH, **changes: Any) -> Observation:
    """Two sound streams that pair, with what is changed."""
    values: dict[str, Any] = {"camera_info": INFO, "pairs": colour.arrivals, "content": Content(), **changes}
    return Observation(now=NOW, started=NOW - 60, clock_ns=CLOCK, colour=colour, depth=depth, **values)


@st.composite
def sound_streams(draw: st.DrawFn) -> Observation:
    """5 to 60 Hz, stamps that jitter by a tenth of the period, arrivals by a third or in bursts, depth 0.1 s later."""
    rate, seconds, late = draw(st.floats(5, 60)), draw(st.floats(0, 5)), draw(st.floats(0, 0.1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    burst = draw(st.floats(1e-6, 0.2))  # seconds: what a busy node takes at once
    count = min(200, round(seconds * rate))
    taken = NOW - late - 0.4 / rate - np.arange(count)[::-1] / rate + rng.uniform(-0.1, 0.1, count) / rate

    def make(name: str, delay: float, offset: float) -> Stream:
        arrivals = np.maximum.accumulate(taken + delay + rng.uniform(0, 0.3, count) / rate)
        arrivals = np.minimum(np.ceil(arrivals / burst) * burst, NOW)
        stamps = CLOCK + np.rint((taken - NOW + rng.uniform(-offset, offset, count)) * 1e9).astype(int)
        first = float(arrivals[0]) if count else 0.0
        return stream(name, arrivals=tuple(arrivals.tolist()), stamps=tuple(stamps.tolist()), first=first)

    colour, depth = make("colour", 0.0, 0.0), make("depth", late, 0.001)
    started = colour.first if count else NOW - draw(st.floats(0, 1))
    return replace(seen(colour, depth, pairs=depth.arrivals), started=started)


@given(sound_streams())
def test_nothing_is_said_of_sound_streams(observation: Observation) -> None:
    assert examine(observation) == []


times = st.lists(st.floats(0, NOW), max_size=30).map(sorted).map(tuple)
words = st.sampled_from(["", "rgb8", "16UC1", "a", "RELIABLE", "BEST_EFFORT", "VOLATILE", "TRANSIENT_LOCAL", IMAGE])
names = st.sampled_from(["/rgb/image", "/depth/image", "/rgb/image/compressed", "/", ""])
senders = st.lists(st.builds(Publisher, words, words, words, words), max_size=3).map(tuple)


@st.composite
def any_stream(draw: st.DrawFn, name: str) -> Stream:
    arrivals = draw(times)
    stamps = st.lists(st.integers(-(2**31) * 10**9, 2**32 * 10**9), min_size=len(arrivals), max_size=len(arrivals))
    return Stream(
        *(name, draw(names), draw(words), "p", draw(words), draw(words), draw(senders), arrivals),
        *(tuple(draw(stamps)), draw(st.floats(0, NOW)), draw(st.none() | st.tuples(st.integers(), st.integers()))),
        *(draw(words), draw(words), draw(st.integers(0, 10**9))),
    )


@given(
    st.builds(
        Observation,
        now=st.floats(0, 2 * NOW),
        started=st.floats(0, NOW),
        clock_ns=st.integers(-(2**63), 2**63),
        colour=any_stream("colour"),
        depth=any_stream("depth"),
        camera_info=any_stream("camera info"),
        pairs=times,
        patience=st.floats(0, 60) | st.just(float("inf")),
        max_age=st.floats(0, 3600),
        topics=st.dictionaries(names, st.tuples(words), max_size=4),
        content=st.none() | st.builds(Content, words, st.floats(0, 1), st.floats(0)),
    )
)
def test_whatever_was_seen_it_answers_with_findings(observation: Observation) -> None:
    for finding in examine(observation):
        assert finding.severity in SEVERITIES
        assert finding.cause
        assert finding.text


ALONE = replace(seen(silent("colour")), alone=True)
CAMERA = {"/cam/color/image_raw": (IMAGE,), "/cam/depth/image_raw": (IMAGE,), "/map": ("nav_msgs/msg/Grid",)}
RANDOM = np.random.default_rng(5)
KEPT = np.append(np.flatnonzero(RANDOM.random(149) < 0.4), 149)


def thinned(one: Stream, kept: np.ndarray) -> Stream:
    return replace(one, **{name: tuple(getattr(one, name)[at] for at in kept) for name in ("arrivals", "stamps")})


FAULTS: dict[str, tuple[Observation, str]] = {
    "no-publisher-colour": (
        seen(silent("colour"), topics=CAMERA),
        r"nobody publishes /rgb/image; Image topics there are: /cam/color/image_raw, /cam/depth/image_raw: remap rgb",
    ),
    "no-publisher-depth": (
        seen(depth=silent("depth"), topics=CAMERA),
        r"nobody publishes /depth/image; Image topics there are: /cam/depth/image_raw, /cam/color/image_raw: remap dep",
    ),
    "only-compressed-colour": (
        seen(silent("colour"), topics={"/rgb/image/compressed": (COMPRESSED,)}),
        "only /rgb/image/compressed is published, not /rgb/image: set image_transport:=compressed",
    ),
    "only-compressed-depth": (
        seen(depth=silent("depth"), topics={"/depth/image/compressedDepth": (COMPRESSED,)}),
        "only /depth/image/compressedDepth is published, .*: set depth_image_transport:=compressedDepth",
    ),
    "other-transport-colour": (
        seen(silent("colour", topic="/rgb/image/compressed", type=COMPRESSED), topics={"/rgb/image": (IMAGE,)}),
        "only /rgb/image is published, not /rgb/image/compressed: set image_transport:=raw",
    ),
    "wrong-type-colour": (
        seen(silent("colour", Publisher("/lidar", "sensor_msgs/msg/PointCloud2"))),
        "/rgb/image is sensor_msgs/msg/PointCloud2, published by /lidar, and not sensor_msgs/msg/Image",
    ),
    "qos-depth": (
        seen(depth=silent("depth", Publisher("/cam", IMAGE, "BEST_EFFORT"), reliability="RELIABLE")),
        "/depth/image of /cam does not fit this subscription in its reliability: BEST_EFFORT is offered, RELIABLE is "
        "asked for: set qos_overrides./depth/image.subscription.reliability:=best_effort",
    ),
    "qos-colour": (
        seen(silent("colour", Publisher("/cam", IMAGE), durability="TRANSIENT_LOCAL")),
        "durability: VOLATILE is offered, TRANSIENT_LOCAL is asked for",
    ),
    "silent-depth": (
        seen(depth=silent("depth", Publisher("/cam", IMAGE))),
        "/cam publishes /depth/image, but no depth image has come for 60 s",
    ),
    "stopped-depth": (
        seen(depth=replace(DEPTH, arrivals=tuple(time - 1.5 for time in DEPTH.arrivals))),
        r"depth images stopped 1.5 s ago \(30.0 Hz before\); /camera still offers /depth/image: look at",
    ),
    "stopped-colour": (
        seen(replace(COLOUR, arrivals=tuple(time - 3 for time in COLOUR.arrivals), publishers=())),
        r"colour images stopped 3.0 s ago \(30.0 Hz before\); nobody publishes /rgb/image",
    ),
    "zero-stamp-colour": (seen(replace(COLOUR, stamps=(0,) * 60)), "the stamps of colour are zero"),
    "negative-stamp-depth": (
        seen(depth=replace(DEPTH, stamps=(-400_000_000,) * 60)),
        r"depth image has a stamp below zero \(-0.400 s\): mend the driver's clock",
    ),
    "same-stamp-colour": (
        seen(replace(COLOUR, stamps=(CLOCK,) * 60)),
        r"the last 20 colour images have one stamp \(1700000000.000 s\)",
    ),
    "stamp-order-colour": (
        seen(replace(COLOUR, stamps=tuple(stamp - 10**9 * (at % 2) for at, stamp in enumerate(COLOUR.stamps)))),
        "the stamps of colour step back 20 times in 39 images: the driver must publish in order",
    ),
    "two-publishers-colour": (
        seen(
            replace(
                COLOUR,
                stamps=tuple(stamp - 10**9 * (at % 2) for at, stamp in enumerate(COLOUR.stamps)),
                publishers=(Publisher("/a", IMAGE), Publisher("/b", IMAGE)),
            )
        ),
        "2 nodes publish /rgb/image, and their images mix: /a, /b: give each camera its own topic",
    ),
    "lost-colour": (
        seen(thinned(replace(stream(count=150), bytes=921_600), KEPT)),
        r"about [56]\d% of the colour images do not arrive: 1\d\.\d Hz of at least 30.0 Hz, 0.9 MB each: .*docs/dds.md",
    ),
    "clocks-apart": (
        seen(depth=shifted(DEPTH, -3600), pairs=()),
        "the stamps of depth are 3600.0 s behind those of colour: no pair can form",
    ),
    "clock-behind": (
        seen(shifted(COLOUR, -86400 * 3), shifted(DEPTH, -86400 * 3), clock_publishers=1),
        "the stamps are 3 days behind this node's clock: /clock is published: set use_sim_time:=true",
    ),
    "clock-ahead": (
        seen(shifted(COLOUR, 3), shifted(DEPTH, 3)),
        "the stamps are 3.0 s ahead of this node's clock",
    ),
    "no-clock": (
        replace(seen(sim_time=True), clock_ns=0),
        "use_sim_time is set but no /clock arrives, and nobody publishes it: play the bag with --clock",
    ),
    "too-old": (
        seen(stream(late=0.8), stream("depth", late=0.8), max_age=0.5),
        "images are 800 ms old when they arrive and max_age is 500 ms",
    ),
    "too-late": (
        seen(depth=stream("depth", late=1.62), pairs=()),
        "depth comes 1.6 s later than colour of the same stamp and pair_timeout is 1.0 s: its partner is gone by then: "
        "set pair_timeout:=2.0",
    ),
    "offset": (
        seen(depth=shifted(DEPTH, 0.012), pairs=(), slop=0.005),
        r"the nearest colour and depth stamps are 12 ms to 12 ms apart \(median 12 ms\) and slop is 5 ms: "
        r"synchronise the streams in the driver, or set slop:=0.015",
    ),
    "first-capture": (
        seen(stream(count=1, arrivals=(NOW - 2.3,)), stream("depth", count=1, arrivals=(NOW - 2.3,))),
        r"one colour image has come, 2.3 s ago: right for a camera that captures on demand; else see its log",
    ),
    "few-pairs": (seen(pairs=()), "30.0 colour images a second, but only 0 pairs"),
    "rates-differ": (
        seen(depth=stream("depth", rate=10.0)),
        "colour comes at 30.0 Hz and depth at 10.0 Hz: at most 10.0 pairs a second",
    ),
    "same-topic": (seen(depth=replace(DEPTH, topic="/rgb/image")), "colour and depth are both taken from /rgb/image"),
    "swapped": (
        seen(replace(COLOUR, encoding="16UC1"), replace(DEPTH, encoding="rgb8")),
        "colour is 16UC1 on /rgb/image and depth is rgb8 on /depth/image: the two topics are swapped",
    ),
    "refused": (seen(content=Content(error="colour image has encoding 'x': expected")), "colour image has encoding"),
    "not-registered": (
        seen(depth=replace(DEPTH, frame_id="camera_depth_optical_frame", size=(848, 480))),
        r"depth is in the frame 'camera_depth_optical_frame' and colour in 'camera_color_optical_frame' "
        r"\(colour 640x480 and depth 848x480\): .*docs/cameras.md",
    ),
    "sizes-differ": (seen(depth=replace(DEPTH, size=(320, 240))), "colour 640x480 and depth 320x240 differ in size"),
    "depth-empty": (seen(content=Content(known=0.0, median=0.0)), "depth is empty: no pixel of it is known"),
    "depth-unit": (
        seen(content=Content(median=1500.0)),
        r"half of the depth image \(16UC1\) is farther than 1.5e\+03 m: its unit must be millimetres in 16UC1",
    ),
    "latched-camera-info": (
        seen(camera_info=replace(INFO, publishers=(Publisher("/cam", "", "RELIABLE", "TRANSIENT_LOCAL"),))),
        "no camera info has come from /rgb/camera_info, which /cam publishes once .*durability:=transient_local and",
    ),
    "no-points": (seen(no_points="no camera info"), "segmentation/points is not published: no camera info"),
    "no-subscriber": (seen(listened=False), "idle, nobody subscribes to an output"),
}


@pytest.mark.parametrize("cause", FAULTS)
def test_each_cause_is_named_with_its_numbers_and_alone(cause: str) -> None:
    observation, expected = FAULTS[cause]
    (finding,) = examine(observation)
    assert finding.cause == cause
    assert re.search(expected, finding.sentence), finding.sentence


def test_the_docs_list_every_cause_with_its_level() -> None:
    page = (Path(__file__).parents[1] / "docs/troubleshooting.md").read_text()
    listed = {tuple(re.split(r" *\| *", row)[1:4:2]) for row in page.splitlines() if row.startswith("| `")}
    found = [finding for observation, _ in FAULTS.values() for finding in examine(observation)]
    assert listed == {(f"`{re.sub('-(colour|depth)$', '-S', one.cause)}`", one.severity) for one in found}


def test_where_no_other_node_is_visible_the_domain_is_suspected() -> None:
    (finding,) = examine(ALONE)
    assert "nobody publishes /rgb/image, and no other node is visible" in finding.text
    assert "ROS_DOMAIN_ID" in finding.advice


def test_of_many_similar_topics_the_likeliest_five_are_shown() -> None:
    topics = {f"/noise/{number}/image": (IMAGE,) for number in range(200)} | CAMERA
    (finding,) = examine(seen(silent("colour"), topics=topics))
    assert finding.text.count("/image") < 9
    assert finding.text.endswith("and 197 more")


@pytest.mark.parametrize(
    ("rate", "patience"), [(30.0, 0.3), (5.0, 0.6), (1.0, 2.0), (0.1, 30.0)], ids=["30 Hz", "5 Hz", "1 Hz", "10 s"]
)
def test_a_stream_has_stopped_after_three_periods(rate: float, patience: float) -> None:
    one = stream("depth", rate=rate, count=20)
    assert one.silence(one.arrivals[-1] + 0.9 * patience) == 0
    assert one.silence(one.arrivals[-1] + 1.1 * patience) == pytest.approx(1.1 * patience)


GOOD = np.full((48, 64), 1.5, np.float32)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (GOOD, Content(known=1.0, median=1.5)),
        (GOOD * np.nan, Content(known=0.0, median=0.0)),
        (np.where(np.arange(64) < 32, GOOD, np.float32(np.nan)), Content(known=0.5, median=1.5)),
        (np.where(np.arange(64) == 3, GOOD, np.float32(np.nan)), Content(known=1 / 64, median=1.5)),
    ],
)
def test_depth_is_sampled_and_counted_whole_where_the_sample_knows_nothing(depth: Any, expected: Content) -> None:
    assert Content.of_depth(depth) == expected


def test_an_offset_that_begins_is_told_though_the_streams_were_one_before() -> None:
    colour, before = stream(count=200), stream("depth", count=200).stamps
    late = tuple(stamp + (12_000_000 if number >= 150 else 0) for number, stamp in enumerate(before))
    (finding,) = examine(seen(colour, stream("depth", count=200, stamps=late), pairs=(), slop=0.005))
    assert finding.cause == "offset"


def test_one_depth_image_beside_flowing_colour_is_a_depth_that_has_stopped() -> None:
    (finding,) = examine(seen(depth=stream("depth", count=1, arrivals=(NOW - 2.3,)), pairs=()))
    assert (finding.severity, finding.cause) == ("warning", "stopped-depth")


def test_nothing_is_missed_before_discovery_had_its_time() -> None:
    assert examine(replace(seen(silent("colour"), silent("depth")), started=NOW - 0.9)) == []


def told(attention_of: list[tuple[str, bool]]) -> Attention:
    return Attention(lambda finding, begins: attention_of.append((finding.cause, begins)))


def test_a_cause_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    lines: list[tuple[str, bool]] = []
    attention = told(lines)
    for second in range(10):
        attention.update([Finding("warning", "offset", f"{second} ms")], second)
    assert lines == [("offset", True)]
    assert [finding.text for finding in attention.confirmed] == ["9 ms"]
    for second in range(10, 20):
        attention.update([], second)
    assert lines == [("offset", True), ("offset", False)]
    assert attention.confirmed == []


def test_while_the_camera_is_left_only_the_graph_speaks_and_nothing_is_called_solved() -> None:
    nobody = replace(COLOUR, publishers=(), arrivals=(), stamps=(), first=0.0)
    silent = replace(DEPTH, arrivals=(), stamps=(), first=0.0)
    left = seen(nobody, silent, paused=True, listened=False, pairs=())
    assert [finding.cause for finding in examine(left)] == ["no-publisher-colour", "no-subscriber"]
    lines: list[tuple[str, bool]] = []
    attention = told(lines)
    for second in range(4):
        attention.update([Finding("error", "offset", ""), Finding("warning", "no-publisher-colour", "")], second)
    attention.forget_all_but({"no-publisher-colour"})
    for second in range(4, 20):
        attention.update([Finding("warning", "no-publisher-colour", "")], second)
    assert lines == [("offset", True), ("no-publisher-colour", True)]
    assert [finding.cause for finding in attention.confirmed] == ["no-publisher-colour"]


def test_what_is_seen_once_only_is_not_told() -> None:
    lines: list[tuple[str, bool]] = []
    attention = told(lines)
    for second in range(20):
        attention.update([Finding("warning", "offset", "")] if second % 5 == 0 else [], second)
    assert lines == []


def test_what_comes_and_goes_is_told_once_a_minute() -> None:
    lines: list[tuple[str, bool]] = []
    attention = told(lines)
    for second in range(120):
        attention.update([Finding("warning", "offset", "")] if second % 10 < 5 else [], second)
    assert lines == [("offset", True), ("offset", False)] * 2


def test_what_a_node_that_was_held_up_sees_is_not_told() -> None:
    lines: list[tuple[str, bool]] = []
    attention = told(lines)
    stopped = [Finding("warning", "stopped-depth", "")]
    for now, findings in ((10, []), (10.5, []), (13, stopped), (13.01, stopped), (13.5, []), (16, stopped), (16.5, [])):
        attention.update(findings, now)
    assert lines == []
    for now in (19, 22, 25):  # always late: then it has to do
        attention.update(stopped, now)
        attention.update(stopped, now + 1)
    assert lines == [("stopped-depth", True)]
