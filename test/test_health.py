"""What the node reports of itself."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
from diagnostic_msgs.msg import DiagnosticStatus

from asymformer_ros.node.health import Health

pytestmark = pytest.mark.ros


class Log:
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def log() -> Log:
    return Log()


class Moment:
    """A clock that stands still until the test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Moment:
    return Moment()


@pytest.fixture
def health(log: Log, clock: Moment) -> Health:
    return Health(log, clock)  # type: ignore[arg-type]


def report(health: Health, *, expects_frames: bool = True) -> tuple[bytes, str, dict[str, str]]:
    status = health.report("node: segmentation", {"backend": "torch cpu fp32"}, expects_frames=expects_frames)
    return status.level, status.message, {value.key: value.value for value in status.values}


def tick(health: Health, *names: str) -> None:
    for name in names:
        getattr(health, name).tick()
        getattr(health, name).tick()


def test_an_explanation_is_logged_once_even_where_its_numbers_differ(health: Health, log: Log) -> None:
    for size in range(100):
        health.lost("refused", f"depth image has {size} bytes")
    health.lost("refused", "colour image has encoding 'x'")
    assert len(log.warnings) == 2
    assert "depth image has 0 bytes" in log.warnings[0]
    assert report(health)[2]["frames refused"] == "101"


def test_endless_new_explanations_do_not_flood_the_log(health: Health, log: Log) -> None:
    for letter in range(1000):
        health.lost("refused", "encoding " + chr(0x4E00 + letter))
    assert len(log.warnings) <= 50


@pytest.mark.parametrize(
    ("arriving", "told"),
    [
        ((), "no colour images"),
        (("colour",), "no depth images"),
        (("colour", "depth"), "never meet within the parameter slop"),
    ],
)
def test_inputs_that_never_come_are_named_after_two_seconds(
    health: Health, clock: Moment, arriving: tuple[str, ...], told: str
) -> None:
    assert report(health)[:2] == (DiagnosticStatus.OK, "segmenting")
    for clock.now in (100.7, 101.4, 102.1):
        tick(health, *arriving)
    level, message, _ = report(health)
    assert level == DiagnosticStatus.WARN
    assert told in message
    assert report(health, expects_frames=False)[:2] == (DiagnosticStatus.OK, "idle")


@pytest.mark.parametrize(
    ("rate", "patience"), [(30.0, 0.3), (5.0, 0.6), (1.0, 2.0), (0.1, 30.0)], ids=["30 Hz", "5 Hz", "1 Hz", "10 s"]
)
def test_a_stopped_stream_is_a_warning_after_three_periods_and_its_rate_falls(
    health: Health, clock: Moment, rate: float, patience: float
) -> None:
    for number in range(20):
        clock.now = 100 + number / rate
        for name in ("colour", "depth", "pairs"):
            getattr(health, name).tick()
    stop = clock.now
    if rate >= 1:
        assert health.colour.per_second() == pytest.approx(rate)
    clock.now = stop + 0.9 * patience
    assert report(health)[0] == DiagnosticStatus.OK
    clock.now = stop + 1.1 * patience
    assert report(health)[:2] == (DiagnosticStatus.WARN, "no colour images arrive")
    assert health.colour.per_second() < rate
    clock.now = stop + 100
    assert health.colour.per_second() == 0.0


def test_what_is_odd_about_frames_is_a_warning_while_they_come_and_is_logged_once(
    health: Health, log: Log, clock: Moment
) -> None:
    for seconds in range(5):
        clock.now += 1
        tick(health, "colour", "depth", "pairs")
        health.doubt("stamp", f"the stamps are {seconds} s behind")
        assert report(health)[:2] == (DiagnosticStatus.WARN, f"the stamps are {seconds} s behind")
    assert log.warnings == ["the stamps are 0 s behind"]
    for _ in range(4):
        clock.now += 1
        tick(health, "colour", "depth", "pairs")
    assert report(health)[:2] == (DiagnosticStatus.OK, "segmenting")


def test_losses_set_the_level_for_the_second_in_which_they_happen(health: Health) -> None:
    tick(health, "colour", "depth", "pairs")
    health.lost("failed", "out of memory")
    level, message, values = report(health)
    assert level == DiagnosticStatus.ERROR
    assert "1 failed" in message
    assert "out of memory" in message
    level, message, values = report(health)
    assert (level, message) == (DiagnosticStatus.OK, "segmenting")
    assert values["frames failed"] == "1"
    assert values["last lost frame"] == "out of memory"


def test_replaced_pairs_are_counted_and_are_no_loss(health: Health) -> None:
    tick(health, "colour", "depth", "pairs")
    health.replaced()
    level, _, values = report(health)
    assert level == DiagnosticStatus.OK
    assert values["frames replaced"] == "1"


def test_percentiles_are_of_the_newest_frames(health: Health) -> None:
    for value in range(1, 1001):
        health.served({"age": float(value), "inference": 5.0})
    values = report(health)[2]
    assert values["frames published"] == "1000"
    assert values["age p50/p95/p99 (ms)"] == "850.5 / 985.0 / 997.0"
    assert values["inference p50/p95/p99 (ms)"] == "5.0 / 5.0 / 5.0"
    assert values["backend"] == "torch cpu fp32"
    health.restart()
    assert "age p50/p95/p99 (ms)" not in report(health)[2]
