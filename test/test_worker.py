"""The mailbox and its worker: the newest item wins and nobody waits."""

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
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


def test_several_slots_are_taken_together_once_all_are_full() -> None:
    mailbox: Mailbox[str] = Mailbox(slots=2, patience=10)
    mailbox.put("front 1", 0)
    taken: list[dict[int, str]] = []
    waiter = threading.Thread(target=lambda: taken.append(mailbox.take()))
    waiter.start()
    assert mailbox.put("front 2", 0) is True
    assert mailbox.put("rear", 1) is False
    waiter.join(5)
    assert taken == [{0: "front 2", 1: "rear"}]


def test_a_slot_that_stays_empty_does_not_hold_up_the_others() -> None:
    mailbox: Mailbox[str] = Mailbox(slots=2, patience=0.05)
    mailbox.put("front", 0)
    assert mailbox.take() == {0: "front"}


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
