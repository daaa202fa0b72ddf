"""Pairing: one contract over our own policy and message_filters where it is installed."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS")
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from asymformer_ros.errors import DependencyError
from asymformer_ros.frames.messages import stamp_ns
from asymformer_ros.frames.pairing import QUEUE_SIZE, NearestStampPairing
from asymformer_ros.node.filters import SimpleFilter
from asymformer_ros.node.synchronizer import SYNCHRONIZERS, NearestStampSynchronizer, make_synchronizer
from asymformer_ros.optional import installed

pytestmark = pytest.mark.ros
MS = 1_000_000
Pairs = list[tuple[float, float]]


def image(milliseconds: float) -> Image:
    seconds, nanoseconds = divmod(round(milliseconds * MS), 1000 * MS)
    return Image(header=Header(stamp=Time(sec=seconds, nanosec=nanoseconds)))


class Recorder:
    """A synchroniser between two filters, whose pairs are kept as stamps in milliseconds."""

    def __init__(self, slop: float, policy: str = "nearest_stamp") -> None:
        self.pairs: Pairs = []
        self.synchronizer = make_synchronizer(policy, slop, timeout=1.0)
        self.filters = (SimpleFilter(), SimpleFilter())
        self.synchronizer.connectInput(self.filters)
        self.synchronizer.registerCallback(record(self.pairs))

    def rgb(self, *stamps: float) -> None:
        for stamp in stamps:
            self.filters[0].signalMessage(image(stamp))

    def depth(self, *stamps: float) -> None:
        for stamp in stamps:
            self.filters[1].signalMessage(image(stamp))


def record(pairs: Pairs) -> Callable[..., None]:
    """A callback that keeps the stamps of what it is called with, in milliseconds."""
    return lambda rgb, depth: pairs.append((stamp_ns(rgb.header) / MS, stamp_ns(depth.header) / MS))


@pytest.fixture(params=SYNCHRONIZERS)
def policy(request: pytest.FixtureRequest) -> str:
    """Which pairing serves; most tests of this file run over both."""
    if request.param == "message_filters":
        pytest.importorskip("message_filters", reason="message_filters comes with a ROS installation only")
    return str(request.param)


@pytest.mark.skipif(installed("message_filters"), reason="message_filters is installed")
def test_message_filters_that_is_asked_for_and_missing_is_named() -> None:
    with pytest.raises(DependencyError, match="synchronizer.* needs message_filters, which is not installed here"):
        make_synchronizer("message_filters", 0.02, 1.0)


@pytest.mark.parametrize("slop", [0.0, 0.02])
def test_equal_stamps_pair_in_either_order_of_arrival(policy: str, slop: float) -> None:
    recorder = Recorder(slop, policy)
    recorder.rgb(1000)
    recorder.depth(1000, 1033)
    recorder.rgb(1033)
    assert recorder.pairs == [(1000, 1000), (1033, 1033)]


def test_an_offset_of_exactly_slop_pairs_and_more_does_not(policy: str) -> None:
    recorder = Recorder(0.02, policy)
    recorder.rgb(1000, 2000)
    recorder.depth(1020, 2020.001)
    assert recorder.pairs == [(1000, 1020)]


def test_slop_zero_pairs_nothing_but_equal_stamps(policy: str) -> None:
    recorder = Recorder(0.0, policy)
    recorder.rgb(1000, 1033)
    recorder.depth(1000.001, 1033)
    assert recorder.pairs == [(1033, 1033)]


def test_each_message_is_used_once(policy: str) -> None:
    recorder = Recorder(0.02, policy)
    recorder.rgb(1000)
    recorder.depth(1005, 1010)
    recorder.rgb(1033)
    assert len(recorder.pairs) == len({rgb for rgb, _ in recorder.pairs}) == len({depth for _, depth in recorder.pairs})


def test_a_depth_stream_that_arrives_late_is_paired(policy: str) -> None:
    recorder = Recorder(0.005, policy)
    recorder.rgb(1000, 1033, 1066, 1100)
    recorder.depth(1000, 1033, 1066, 1100)
    assert recorder.pairs == [(1000, 1000), (1033, 1033), (1066, 1066), (1100, 1100)]


def test_lost_messages_cost_only_their_own_pair(policy: str) -> None:
    recorder = Recorder(0.005, policy)
    for stamp in range(1000, 2000, 33):
        if stamp % 4:
            recorder.rgb(stamp)
        if stamp % 5:
            recorder.depth(stamp + 2)
    expected = [(stamp, stamp + 2) for stamp in range(1000, 2000, 33) if stamp % 4 and stamp % 5]
    assert recorder.pairs == expected


def test_zero_stamps_still_pair(policy: str) -> None:
    recorder = Recorder(0.02, policy)
    for _ in range(3):
        recorder.rgb(0)
        recorder.depth(0)
    assert recorder.pairs == [(0, 0)] * 3


def test_a_bag_that_loops_goes_on_pairing(policy: str) -> None:
    recorder = Recorder(0.02, policy)
    for _ in range(2):
        recorder.rgb(5000, 5033)
        recorder.depth(5000, 5033)
        recorder.rgb(1000, 1033)
        recorder.depth(1000, 1033)
    assert recorder.pairs == [(5000, 5000), (5033, 5033), (1000, 1000), (1033, 1033)] * 2


def test_a_stamp_a_few_frames_back_clears_nothing_that_waits(policy: str) -> None:
    recorder = Recorder(0.02, policy)
    recorder.rgb(1000, 1033, 1066, 966)
    recorder.depth(1000, 1033, 1066)
    assert recorder.pairs == [(1000, 1000), (1033, 1033), (1066, 1066)]


def test_what_waited_before_a_reset_is_never_paired(policy: str) -> None:
    recorder = Recorder(0.02, policy)
    recorder.rgb(1000)
    recorder.synchronizer.reset()
    recorder.depth(1000)
    assert recorder.pairs == []
    recorder.rgb(1033)
    recorder.depth(1033)
    assert recorder.pairs == [(1033, 1033)]


def test_a_silent_partner_leaves_a_bounded_queue(policy: str) -> None:
    recorder = Recorder(0.001, policy)
    recorder.rgb(*range(1000, 9000, 33))
    recorder.depth(1000)
    assert recorder.pairs == []
    newest = list(range(1000, 9000, 33))[-QUEUE_SIZE:]
    recorder.depth(newest[0])
    assert recorder.pairs == [(newest[0], newest[0])]


def test_two_callbacks_get_the_same_pair(policy: str) -> None:
    recorder = Recorder(0.02, policy)
    again: Pairs = []
    recorder.synchronizer.registerCallback(record(again))
    recorder.rgb(1000)
    recorder.depth(1001)
    assert recorder.pairs == again == [(1000, 1001)]


def test_streams_do_not_stay_paired_one_frame_apart() -> None:
    """The first depth image is missing and slop is wider than the period."""
    recorder = Recorder(0.05)
    recorder.rgb(1000)
    for stamp in range(1033, 1400, 33):
        recorder.depth(stamp)
        recorder.rgb(stamp)
    late = recorder.pairs[3:]
    assert late
    assert all(rgb == depth for rgb, depth in late)


class OwnPolicy:
    """Our own policy under a clock that the test moves."""

    def __init__(self, slop_ms: float, timeout: float = 1.0) -> None:
        self.now = 0.0
        self.pairs: Pairs = []
        self.synchronizer = NearestStampSynchronizer(round(slop_ms * MS), timeout, clock=lambda: self.now)
        self.synchronizer.registerCallback(record(self.pairs))

    def play(self, arrivals: list[tuple[float, int, float]]) -> Pairs:
        """Add messages (time of arrival in s, stream, stamp in ms) in the order of their arrival."""
        for self.now, stream, stamp in sorted(arrivals):
            header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=round(stamp * MS)))
            self.synchronizer.add(SimpleNamespace(header=header), stream)
        return self.pairs


@pytest.mark.parametrize("slop_ms", [0.0, 20.0, 600.0])
@pytest.mark.parametrize(("rate", "latency"), [(60, 0.2), (30, 0.45), (30, 0.9), (90, 0.9)])
def test_depth_may_come_late_by_up_to_the_timeout(rate: int, latency: float, slop_ms: float) -> None:
    stamps = [1000 + round(1000 * number / rate) for number in range(200)]
    late = [(stamp / 1000 + latency, 1, stamp) for stamp in stamps]
    policy = OwnPolicy(slop_ms)
    assert policy.play([(stamp / 1000, 0, stamp) for stamp in stamps] + late) == [(stamp, stamp) for stamp in stamps]


def test_a_message_that_has_waited_longer_than_the_timeout_is_gone() -> None:
    policy = OwnPolicy(20, timeout=0.5)
    assert policy.play([(0.0, 0, 1000), (0.51, 1, 1000), (0.6, 0, 2000), (1.09, 1, 2000)]) == [(2000, 2000)]


def test_a_partner_that_comes_when_the_queue_is_full_is_paired() -> None:
    """Depth 0 waits, the queue of colours fills, colour 0 comes: a pair, and no error."""
    policy = OwnPolicy(1)
    colours = [(0.0, 0, 5000.0 + 4 * number) for number in range(1, QUEUE_SIZE + 20)]
    assert policy.play([(-0.5, 1, 5000), *colours, (0.1, 0, 5000)]) == [(5000, 5000)]


def test_the_frames_that_two_unequal_rates_share_are_paired() -> None:
    for colour, depth in ((33, 11), (11, 33)):
        policy = OwnPolicy(16)
        arrivals = [(stamp / 1000, 0, stamp) for stamp in range(990, 3000, colour)]
        arrivals += [(stamp / 1000 + 0.002, 1, stamp) for stamp in range(990, 3000, depth)]
        assert policy.play(arrivals)[2:] == [(stamp, stamp) for stamp in range(990 + 66, 3000, 33)]


def test_one_lost_frame_in_fifty_costs_its_own_pair_alone() -> None:
    """60 Hz and a slop of more than a period: no pair is one frame off."""
    stamps = [1000 + round(number * 16.667) for number in range(600)]
    arrivals = [(stamp / 1000, 0, stamp) for number, stamp in enumerate(stamps) if number % 50 != 17]
    arrivals += [(stamp / 1000 + 0.003, 1, stamp) for number, stamp in enumerate(stamps) if number % 50 != 31]
    pairs = OwnPolicy(20).play(arrivals)
    whole = sum(number % 50 not in (17, 31) for number in range(600))
    assert sum(rgb != depth for rgb, depth in pairs) <= 1
    assert whole - 1 <= len(pairs) <= whole + 1


Steps = st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.floats(0, 0.4)), max_size=80)


@given(Steps, st.integers(0, 30))
def test_any_input_gives_pairs_within_slop_in_order_and_each_message_once(
    steps: list[tuple[bool, int, float]], slop_ms: int
) -> None:
    policy, now, arrivals = OwnPolicy(slop_ms), 0.0, []
    for is_depth, stamp, pause in steps:
        now += pause
        arrivals.append((now, int(is_depth), float(stamp)))
    pairs = policy.play(arrivals)
    assert all(abs(rgb - depth) <= slop_ms for rgb, depth in pairs)
    for stream in (0, 1):
        used = [pair[stream] for pair in pairs]
        sent = [stamp for _, of, stamp in arrivals if of == stream]
        assert used == sorted(used)
        assert all(used.count(stamp) <= sent.count(stamp) for stamp in used)


Latencies = st.lists(st.floats(0, 0.9), min_size=60, max_size=60)


@given(Latencies, Latencies, st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)))
def test_any_interleaving_of_equal_stamps_pairs_every_frame_that_both_streams_have(
    colour: list[float], depth: list[float], without_colour: set[int], without_depth: set[int]
) -> None:
    """30 Hz; each message is late by up to 0.9 s, none overtakes another of its stream, some are lost."""
    arrivals = []
    for stream, latencies, lost in ((0, colour, without_colour), (1, depth, without_depth)):
        now = 0.0
        for number, latency in enumerate(latencies):
            now = max(now, number / 30 + latency)
            if number not in lost:
                arrivals.append((now + number * 1e-9, stream, 1000 + 33 * number))
    whole = [1000 + 33 * number for number in range(60) if number not in without_colour | without_depth]
    assert OwnPolicy(15).play(arrivals) == [(stamp, stamp) for stamp in whole]


@given(st.lists(st.integers(-7, 7), min_size=5, max_size=60), st.integers(-6, 6))
def test_a_steady_camera_loses_no_pair_whatever_its_jitter(jitter: list[int], offset: int) -> None:
    """30 Hz, each stream with a constant offset and jitter, both within slop: every frame is paired with its own."""
    expected = [(1000 + 33 * n, 1000 + 33 * n + offset + shift) for n, shift in enumerate(jitter)]
    policy = OwnPolicy(15)
    for number, (rgb, depth) in enumerate(expected):
        policy.play([(number / 30, 0, rgb), (number / 30 + 0.01, 1, depth)])
    assert policy.pairs == expected


class WithoutDepth(OwnPolicy):
    """Our own policy that lets colour go alone after a second without depth."""

    def __init__(self, slop_ms: float) -> None:
        super().__init__(slop_ms)
        self.outputs: list[tuple[float, float, float | None]] = []  # time in s, stamps in ms
        self.synchronizer = NearestStampSynchronizer(round(slop_ms * MS), 1.0, 1.0, lambda: self.now)
        self.synchronizer.registerCallback(self._keep)

    def _keep(self, rgb: Image, depth: Image | None) -> None:
        self.outputs.append(
            (self.now, stamp_ns(rgb.header) / MS, None if depth is None else stamp_ns(depth.header) / MS)
        )


def test_colour_goes_alone_while_depth_is_silent_and_in_pairs_again_afterwards() -> None:
    policy = WithoutDepth(5)
    stamps = [1000 + 100 * number for number in range(60)]
    dead = range(3000, 5000)
    arrivals = [(stamp / 1000, 0, stamp) for stamp in stamps]
    arrivals += [(stamp / 1000 + 0.01, 1, stamp) for stamp in stamps if stamp not in dead]
    policy.play(arrivals)
    alone = [rgb for _, rgb, depth in policy.outputs if depth is None]
    assert alone == [stamp for stamp in stamps if 3900 < stamp <= 5000]
    assert [rgb for _, rgb, depth in policy.outputs if depth is not None] == [
        stamp for stamp in stamps if stamp < 3000 or stamp > 5000
    ]


def test_without_leave_colour_waits_for_depth_for_ever() -> None:
    assert OwnPolicy(20).play([(stamp / 1000, 0, stamp) for stamp in range(1000, 9000, 100)]) == []


def test_a_callback_that_was_held_up_does_not_let_colour_go_alone() -> None:
    """Both streams come in a burst after three silent seconds."""
    policy = WithoutDepth(5)
    policy.play([(0.0, 0, 1000), (0.01, 1, 1000)])
    burst = [(index, stream) for index in range(5) for stream in (0, 1)]
    policy.play([(3.0 + 0.002 * index + 0.001 * stream, stream, 4000 + 33 * index) for index, stream in burst])
    assert [depth for _, _, depth in policy.outputs] == [1000, *(4000 + 33 * index for index in range(5))]


def test_both_policies_let_colour_go_alone(policy: str) -> None:
    now, outputs = [0.0], []
    synchronizer = make_synchronizer(policy, 0.02, 1.0, 0.5)
    synchronizer._pairing._clock = lambda: now[0]
    synchronizer.reset()
    synchronizer.registerCallback(lambda rgb, depth: outputs.append((rgb, depth)))
    images = [image(1000 + 100 * number) for number in range(10)]
    for number, message in enumerate(images):
        now[0] = 0.1 * number
        synchronizer.add(message, 0)
    assert outputs == [(message, None) for message in images[6:]]
    depth = image(2000)
    synchronizer.add(depth, 1)
    synchronizer.add(image(2000), 0)
    assert [pair[1] for pair in outputs[4:]] == [depth]


@given(Steps, st.integers(0, 30))
def test_any_interleaving_lets_colour_go_alone_only_where_depth_is_silent_and_stays_in_order(
    steps: list[tuple[bool, int, float]], slop_ms: int
) -> None:
    policy, now, arrivals = WithoutDepth(slop_ms), 0.0, []
    for is_depth, stamp, pause in steps:
        now += pause
        arrivals.append((now, int(is_depth), float(stamp)))
    policy.play(arrivals)
    colours = [rgb for _, rgb, _ in policy.outputs]
    sent = [stamp for _, stream, stamp in arrivals if not stream]
    assert colours == sorted(colours)
    assert all(colours.count(stamp) <= sent.count(stamp) for stamp in colours)
    for when, rgb, depth in policy.outputs:
        if depth is None:
            assert not [arrival for arrival, stream, _ in arrivals if stream and when - 1 <= arrival < when]
        else:
            assert abs(rgb - depth) <= slop_ms
    if len(sent) == len(arrivals) > 3 and now > 1:
        assert policy.outputs, "no depth came at all, and no colour went alone"


def test_at_the_end_of_a_recording_the_pair_that_waits_for_a_nearer_one_goes_out() -> None:
    pairs: Pairs = []
    pairing = NearestStampPairing(record(pairs), 40 * MS, 1.0, clock=lambda: 0.0)
    for stream, stamp in ((1, 1000), (1, 1033), (0, 1060)):  # depth of 1066 is expected
        pairing.add(image(stamp), stream)
    assert pairs == []
    pairing.finish()
    assert pairs == [(1060, 1033)]
