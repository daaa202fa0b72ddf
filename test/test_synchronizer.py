"""Pairing: one contract over our own policy and message_filters where it is installed."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS")
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from asymformer_ros.node import synchronizer as module
from asymformer_ros.node.synchronizer import QUEUE_SIZE, RgbdSynchronizer, stamp_ns

pytestmark = pytest.mark.ros
MS = 1_000_000
Pairs = list[tuple[float, float]]


def image(milliseconds: float) -> Image:
    seconds, nanoseconds = divmod(round(milliseconds * MS), 1000 * MS)
    return Image(header=Header(stamp=Time(sec=seconds, nanosec=nanoseconds)))


class Recorder:
    """A synchroniser whose pairs are kept as stamps in milliseconds."""

    def __init__(self, slop: float) -> None:
        self.pairs: Pairs = []
        self.synchronizer = RgbdSynchronizer(slop)
        self.synchronizer.registerCallback(
            lambda rgb, depth: self.pairs.append((stamp_ns(rgb) / MS, stamp_ns(depth) / MS))
        )

    def rgb(self, *stamps: float) -> None:
        for stamp in stamps:
            self.synchronizer.add_rgb(image(stamp))

    def depth(self, *stamps: float) -> None:
        for stamp in stamps:
            self.synchronizer.add_depth(image(stamp))


@pytest.fixture(params=["own", "message_filters"])
def policy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which pairing serves; the other tests of this file run over both."""
    if request.param == "own":
        monkeypatch.setattr(module, "message_filters", None)
    else:
        pytest.importorskip("message_filters", reason="message_filters comes with a ROS installation only")
    return str(request.param)


def test_the_policy_in_use_is_told(policy: str) -> None:
    expected = {"own": "NearestStampPairing", "message_filters": "MessageFiltersPairing"}
    assert RgbdSynchronizer(0.02).policy == expected[policy]


@pytest.mark.parametrize("slop", [0.0, 0.02])
def test_equal_stamps_pair_in_either_order_of_arrival(policy: str, slop: float) -> None:
    recorder = Recorder(slop)
    recorder.rgb(1000)
    recorder.depth(1000, 1033)
    recorder.rgb(1033)
    assert recorder.pairs == [(1000, 1000), (1033, 1033)]


def test_an_offset_of_exactly_slop_pairs_and_more_does_not(policy: str) -> None:
    recorder = Recorder(0.02)
    recorder.rgb(1000, 2000)
    recorder.depth(1020, 2020.001)
    assert recorder.pairs == [(1000, 1020)]


def test_slop_zero_pairs_nothing_but_equal_stamps(policy: str) -> None:
    recorder = Recorder(0.0)
    recorder.rgb(1000, 1033)
    recorder.depth(1000.001, 1033)
    assert recorder.pairs == [(1033, 1033)]


def test_each_message_is_used_once(policy: str) -> None:
    recorder = Recorder(0.02)
    recorder.rgb(1000)
    recorder.depth(1005, 1010)
    recorder.rgb(1033)
    assert len(recorder.pairs) == len({rgb for rgb, _ in recorder.pairs}) == len({depth for _, depth in recorder.pairs})


def test_a_depth_stream_that_arrives_late_is_paired(policy: str) -> None:
    recorder = Recorder(0.005)
    recorder.rgb(1000, 1033, 1066, 1100)
    recorder.depth(1000, 1033, 1066, 1100)
    assert recorder.pairs == [(1000, 1000), (1033, 1033), (1066, 1066), (1100, 1100)]


def test_lost_messages_cost_only_their_own_pair(policy: str) -> None:
    recorder = Recorder(0.005)
    for stamp in range(1000, 2000, 33):
        if stamp % 4:
            recorder.rgb(stamp)
        if stamp % 5:
            recorder.depth(stamp + 2)
    expected = [(stamp, stamp + 2) for stamp in range(1000, 2000, 33) if stamp % 4 and stamp % 5]
    assert recorder.pairs == expected


def test_zero_stamps_still_pair(policy: str) -> None:
    recorder = Recorder(0.02)
    for _ in range(3):
        recorder.rgb(0)
        recorder.depth(0)
    assert recorder.pairs == [(0, 0)] * 3


def test_a_bag_that_loops_goes_on_pairing(policy: str) -> None:
    recorder = Recorder(0.02)
    for _ in range(2):
        recorder.rgb(5000, 5033)
        recorder.depth(5000, 5033)
        recorder.rgb(1000, 1033)
        recorder.depth(1000, 1033)
    assert recorder.pairs == [(5000, 5000), (5033, 5033), (1000, 1000), (1033, 1033)] * 2


def test_what_waited_before_a_reset_is_never_paired(policy: str) -> None:
    recorder = Recorder(0.02)
    recorder.rgb(1000)
    recorder.synchronizer.reset()
    recorder.depth(1000)
    assert recorder.pairs == []
    recorder.rgb(1033)
    recorder.depth(1033)
    assert recorder.pairs == [(1033, 1033)]


def test_a_silent_partner_leaves_a_bounded_queue(policy: str) -> None:
    recorder = Recorder(0.001)
    recorder.rgb(*range(1000, 4000, 33))
    recorder.depth(1000)
    assert recorder.pairs == []
    newest = list(range(1000, 4000, 33))[-QUEUE_SIZE:]
    recorder.depth(newest[0])
    assert recorder.pairs == [(newest[0], newest[0])]


def test_two_callbacks_get_the_same_pair(policy: str) -> None:
    recorder, again = Recorder(0.02), []
    recorder.synchronizer.registerCallback(lambda rgb, depth: again.append((stamp_ns(rgb) / MS, stamp_ns(depth) / MS)))
    recorder.rgb(1000)
    recorder.depth(1001)
    assert recorder.pairs == again == [(1000, 1001)]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "message_filters", None)


def test_streams_do_not_stay_paired_one_frame_apart(own: None) -> None:
    """The first depth image is missing and slop is wider than the period."""
    recorder = Recorder(0.05)
    recorder.rgb(1000)
    for stamp in range(1033, 1400, 33):
        recorder.depth(stamp)
        recorder.rgb(stamp)
    late = recorder.pairs[3:]
    assert late
    assert all(rgb == depth for rgb, depth in late)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=80),
    st.integers(0, 30),
)
def test_any_input_gives_pairs_within_slop_in_order_and_each_message_once(
    arrivals: list[tuple[bool, int]], slop_ms: int
) -> None:
    pairs: Pairs = []
    pairing = module.NearestStampPairing(
        slop_ms * MS, lambda rgb, depth: pairs.append((stamp_ns(rgb) / MS, stamp_ns(depth) / MS))
    )
    for is_depth, stamp in arrivals:
        header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=stamp * MS))
        pairing.add(int(is_depth), SimpleNamespace(header=header))
    assert all(abs(rgb - depth) <= slop_ms for rgb, depth in pairs)
    for stream in (0, 1):
        used = [pair[stream] for pair in pairs]
        sent = [stamp for is_depth, stamp in arrivals if int(is_depth) == stream]
        assert all(used.count(stamp) <= sent.count(stamp) for stamp in used)


@given(st.lists(st.integers(-7, 7), min_size=5, max_size=60), st.integers(-6, 6))
def test_a_steady_camera_loses_no_pair_whatever_its_jitter(jitter: list[int], offset: int) -> None:
    """30 Hz, each stream with a constant offset and jitter, both within slop: every frame is paired with its own."""
    pairs: Pairs = []
    pairing = module.NearestStampPairing(
        15 * MS, lambda rgb, depth: pairs.append((stamp_ns(rgb) / MS, stamp_ns(depth) / MS))
    )
    expected = [(1000 + 33 * n, 1000 + 33 * n + offset + shift) for n, shift in enumerate(jitter)]
    for rgb, depth in expected:
        pairing.add(0, image(rgb))
        pairing.add(1, image(depth))
    assert pairs == expected
