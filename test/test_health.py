"""What the node reports of itself."""

from collections.abc import Callable

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
from diagnostic_msgs.msg import DiagnosticStatus

from asymformer_ros.findings import Finding
from asymformer_ros.node.health import Health
from asymformer_ros.node.rate import Spell

pytestmark = pytest.mark.ros


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, severity: str) -> Callable[[str], None]:
        return lambda text: self.lines.append((severity, text))

    @property
    def warnings(self) -> list[str]:
        return [text for severity, text in self.lines if severity == "warning"]


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


def test_findings_set_the_level_and_the_text_and_are_told_whole(health: Health) -> None:
    assert report(health)[:2] == (DiagnosticStatus.OK, "segmenting")
    health.findings = [Finding("ok", "no-subscriber", "nobody subscribes", "subscribe")]
    assert report(health)[:2] == (DiagnosticStatus.OK, "nobody subscribes")
    health.findings.append(Finding("warning", "depth-empty", "depth is empty", "look"))
    assert report(health)[:2] == (DiagnosticStatus.WARN, "depth is empty")
    health.findings.append(Finding("error", "offset", "stamps are apart", "set slop"))
    level, message, values = report(health)
    assert (level, message) == (DiagnosticStatus.ERROR, "depth is empty; stamps are apart")
    assert values["doctor: offset"] == "stamps are apart: set slop"
    assert report(health, expects_frames=False)[:2] == (DiagnosticStatus.OK, "idle")


def test_findings_are_logged_as_grave_as_they_are_and_once_more_when_they_are_over(health: Health, log: Log) -> None:
    for severity in ("ok", "warning", "error"):
        health.found(Finding(severity, "x", severity, "do"), begins=True, camera="front: ")
    health.found(Finding("error", "x", "error", "do"), begins=False)
    assert log.lines == [
        ("info", "front: ok: do"),
        ("warning", "front: warning: do"),
        ("error", "front: error: do"),
        ("info", "solved: error"),
    ]


def test_a_refusal_that_the_frame_has_told_is_not_told_again_by_the_doctor(health: Health, log: Log) -> None:
    health.lost("refused", "colour image has encoding 'x'")
    health.found(Finding("error", "refused", "colour image has encoding 'x'"), begins=True)
    assert len(log.lines) == 1


def test_the_rate_of_a_stream_that_has_stopped_falls(health: Health, clock: Moment) -> None:
    for number in range(20):
        clock.now = 100 + number / 5
        health.colour.tick()
    assert health.colour.per_second() == pytest.approx(5.0)
    clock.now += 2
    assert 0 < health.colour.per_second() < 5.0
    assert health.colour.silence() == pytest.approx(2)
    clock.now += 100
    assert health.colour.per_second() == 0.0


def test_the_level_is_the_worst_of_losses_and_findings(health: Health) -> None:
    health.lost("refused", "x")
    health.findings = [Finding("error", "offset", "apart")]
    assert report(health)[0] == DiagnosticStatus.ERROR


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


def test_pair_offsets_are_told_whichever_stream_is_ahead(health: Health) -> None:
    for offset in (2_000_000, -2_000_000, 2_000_000):
        health.paired(offset)
    assert report(health)[2]["pair offset p50/p95/p99 (ms)"] == "2.0 / 2.0 / 2.0"


def test_images_that_never_found_a_partner_are_counted_over_the_whole_run(health: Health) -> None:
    for _ in range(10):
        health.colour.tick()
    for _ in range(7):
        health.depth.tick()
        health.paired(0)
    health.depth_lacks()
    health.restart()
    values = report(health)[2]
    assert values["colour images without a pair"] == "2"
    assert values["depth images without a pair"] == "0"
    assert values["frames of colour alone"] == "1"


def test_what_is_known_of_depth_is_told_where_it_is_known(health: Health) -> None:
    assert "depth coverage (%)" not in report(health)[2]
    health.depth_coverage = 0.123
    assert report(health)[2]["depth coverage (%)"] == "12"


def test_colour_alone_is_told_once_in_the_log_and_as_long_as_it_lasts_in_the_status(
    health: Health, log: Log, clock: Moment
) -> None:
    for _ in range(2):
        health.depth.tick()
        clock.now += 3.2
        health.depth_lacks()
        health.depth_lacks()
        assert report(health)[:2] == (DiagnosticStatus.WARN, "no depth for 3.2 s: segmenting colour alone")
        health.depth_came()
        health.depth_came()
        assert report(health)[:2] == (DiagnosticStatus.OK, "segmenting")
    assert log.lines == 2 * [
        ("warning", "no depth for 3.2 s: segmenting colour alone"),
        ("info", "depth comes again: segmenting colour and depth"),
    ]


STAGES = {"age": 999.0, "convert": 1.0, "preprocess": 1.0, "postprocess": 1.0, "publish": 1.0}


def serve(health: Health, clock: Moment, period: float, count: int, **stages: float) -> None:
    for _ in range(count):
        clock.now += period
        health.served({**STAGES, **stages})


@pytest.mark.parametrize(
    ("period", "stages", "lags"),
    [
        (0.2, {"inference": 190.0}, True),
        (0.2, {"inference": 40.0}, False),  # the camera is slow
        (0.2, {"inference": 60.0, "publish": 130.0}, False),  # something else takes the time
        (0.09, {"inference": 85.0}, False),  # as often as is wanted
    ],
)
def test_only_the_network_makes_labels_come_too_seldom(
    health: Health, clock: Moment, period: float, stages: dict[str, float], lags: bool
) -> None:
    assert not health.network_lags(10.0), "nothing was published"
    serve(health, clock, period, 60, **stages)
    assert health.network_lags(10.0) is lags
    clock.now += 11
    assert not health.network_lags(10.0), "nobody listens any more"


def test_the_frames_of_the_last_seconds_say_whether_the_network_lags(health: Health, clock: Moment) -> None:
    serve(health, clock, 0.05, 250, inference=45.0)
    assert not health.network_lags(10.0)
    serve(health, clock, 0.25, 41, inference=240.0)
    assert health.network_lags(10.0), "300 frames are still those of a fast network, for the most part"
    serve(health, clock, 0.05, 201, inference=45.0)
    assert not health.network_lags(10.0)


def test_a_spell_counts_from_when_something_is_so_without_a_break(clock: Moment) -> None:
    spell, seconds = Spell(clock), []
    for so in (False, True, True, False, True, True):
        clock.now += 1
        seconds.append(spell.seconds(so))
    assert seconds == [0, 0, 1, 0, 0, 1]
