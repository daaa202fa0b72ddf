"""The mailbox and its worker: the newest item wins and nobody waits."""

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS")
from asymformer_ros.node import worker as module
from asymformer_ros.node.worker import Mailbox, Worker

pytestmark = pytest.mark.ros


def test_the_newest_item_replaces_the_one_nobody_took() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(1), mailbox.put(2)] == [False, True]
    assert mailbox.take() == {0: 2}
    assert mailbox.put(3) is False


def test_a_cleared_mailbox_is_empty() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    mailbox.clear()
    assert mailbox.put(2) is False


def test_close_ends_a_wait_and_hands_out_nothing_more() -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[dict[int, int]] = []
    waiter = threading.Thread(target=lambda: taken.append(mailbox.take()))
    waiter.start()
    mailbox.close()
    waiter.join(10)
    mailbox.put(1)
    assert [*taken, mailbox.take()] == [{}, {}]


def test_a_busy_worker_skips_to_the_newest_item() -> None:
    handled: list[int] = []
    busy, free = threading.Event(), threading.Event()

    def handle(items: dict[int, int]) -> None:
        handled.append(items[0])
        busy.set()
        free.wait(10)

    worker = Worker(handle)
    worker.mailbox.put(0)
    assert busy.wait(10)
    for item in range(1, 100):
        worker.mailbox.put(item)
    busy.clear()
    free.set()
    assert busy.wait(10)
    worker.stop()
    assert handled == [0, 99]


def test_stop_waits_for_the_item_in_hand_and_drops_the_next() -> None:
    started, handled = threading.Event(), []

    def handle(items: dict[int, int]) -> None:
        started.set()
        threading.Event().wait(0.1)
        handled.append(items[0])

    worker = Worker(handle)
    worker.mailbox.put(1)
    assert started.wait(10)
    worker.mailbox.put(2)
    worker.stop()
    assert handled == [1]


class Moment:
    """A clock that stands still until the test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Moment:
    moment = Moment()
    monkeypatch.setattr(module, "monotonic", moment)
    return moment


def played(clock: Moment, mailbox: Mailbox[str], puts: list[tuple[float, int]]) -> None:
    """Put an item into a slot at each time, and take it, so that the mailbox knows the slots' periods."""
    for clock.now, slot in puts:
        mailbox.put("old", slot)
        mailbox.clear()


def test_a_camera_that_is_due_is_waited_for_and_taken_with_the_first(clock: Moment) -> None:
    mailbox: Mailbox[str] = Mailbox(slots=2)
    played(clock, mailbox, [(100.0, 0), (100.01, 1), (100.1, 0), (100.11, 1)])
    clock.now = 100.2
    mailbox.put("front", 0)
    taken: list[dict[int, str]] = []
    waiter = threading.Thread(target=lambda: taken.append(mailbox.take()))
    waiter.start()
    clock.now = 100.21
    mailbox.put("rear", 1)
    waiter.join(5)
    assert taken == [{0: "front", 1: "rear"}]


@pytest.mark.parametrize(
    "rear",
    [
        [],  # it has never sent anything
        [(99.0, 1)],  # its period is not known yet
        [(100.05, 1), (100.15, 1)],  # its next is due in 50 ms
        [(90.0, 1), (90.1, 1)],  # it has stopped
    ],
)
def test_a_camera_that_is_not_due_holds_nobody_up(clock: Moment, rear: list[tuple[float, int]]) -> None:
    mailbox: Mailbox[str] = Mailbox(slots=2)
    played(clock, mailbox, sorted([(100.0, 0), (100.1, 0), *rear]))
    clock.now = 100.2
    mailbox.put("front", 0)
    assert mailbox.take() == {0: "front"}


def test_a_camera_that_is_due_and_does_not_come_is_waited_for_30_ms_at_most() -> None:
    mailbox: Mailbox[str] = Mailbox(slots=2)
    for _ in range(2):
        mailbox.put("rear", 1)
        time.sleep(0.02)
    mailbox.clear()
    mailbox.put("front", 0)
    start = time.monotonic()
    assert mailbox.take() == {0: "front"}
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize("error", [ValueError("a defect"), SystemExit(3)])
def test_what_ends_the_thread_is_kept(error: BaseException) -> None:
    def handle(items: dict[int, int]) -> None:
        raise error

    worker = Worker(handle)
    assert worker.failure is None
    worker.mailbox.put(1)
    worker._thread.join(10)
    assert worker.failure is error
    worker.stop()


class Arrivals:
    """Stands for the mailbox's condition: waiting moves the clock on, and what arrives meanwhile is put."""

    def __init__(self, clock: Moment, coming: list[tuple[float, int]]) -> None:
        self.clock, self.coming, self.mailbox = clock, sorted(coming), Mailbox[float](slots=4)
        self.mailbox._condition = self  # type: ignore[assignment]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def notify(self) -> None:
        pass

    def arrive(self, until: float) -> None:
        """Let time pass."""
        while self.coming and self.coming[0][0] <= until:
            self.clock.now, slot = self.coming.pop(0)
            self.mailbox.put(self.clock.now, slot)
        self.clock.now = max(self.clock.now, until)

    def wait(self, timeout: float | None) -> None:
        """Until the next one comes, or as long as the mailbox says."""
        ends = [self.clock.now + timeout] if timeout is not None else []
        self.arrive(min(ends + [time for time, _ in self.coming[:1]]))


def _is_due(times: list[float], now: float) -> bool:
    """Whether the next of what came at these times should come within 30 ms, or should just have come."""
    seen = [time for time in times if time <= now]
    return len(seen) > 1 and abs(2 * seen[-1] - seen[-2] - now) < module.LONGEST_WAIT + 1e-9


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cameras=st.lists(st.tuples(st.floats(0.01, 0.5), st.floats(0, 0.5)), min_size=1, max_size=4),
    inference=st.floats(0.001, 0.7),
)
def test_no_camera_waits_for_one_that_is_not_due_and_none_starves(
    clock: Moment, cameras: list[tuple[float, float]], inference: float
) -> None:
    clock.now = 100.0
    coming = [
        (100 + phase + number * period, slot)
        for slot, (period, phase) in enumerate(cameras)
        for number in range(int(3 / period))
    ]
    arrivals = Arrivals(clock, coming)
    newest = dict.fromkeys(range(len(cameras)), 0.0)
    while arrivals.coming:
        free = clock.now
        taken = arrivals.mailbox.take()
        start = max(free, min(taken.values()))
        held = clock.now - start
        assert held <= module.LONGEST_WAIT + 1e-9
        assert not held or any(_is_due([at for at, whose in coming if whose == slot], start) for slot in newest)
        for slot, item in taken.items():
            assert item > newest[slot], "an item is taken once, and never an older one"
            newest[slot] = item
        for slot in range(len(cameras)):
            put = [at for at, whose in coming if whose == slot and at <= clock.now]
            assert not put or newest[slot] == put[-1], "whoever has something is served in the very next turn"
        arrivals.arrive(clock.now + inference)
