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


@pytest.fixture
def health(log: Log) -> Health:
    return Health(log)  # type: ignore[arg-type]


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
def test_silent_inputs_are_named(health: Health, arriving: tuple[str, ...], told: str) -> None:
    tick(health, *arriving)
    level, message, _ = report(health)
    assert level == DiagnosticStatus.WARN
    assert told in message
    assert report(health, expects_frames=False)[:2] == (DiagnosticStatus.OK, "idle")


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
