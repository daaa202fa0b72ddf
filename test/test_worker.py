"""The mailbox and its worker: the newest item wins and nobody waits."""

import threading

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
from asymformer_ros.node.worker import Mailbox, Worker

pytestmark = pytest.mark.ros


def test_the_newest_item_replaces_the_one_nobody_took() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(1), mailbox.put(2)] == [False, True]
    assert mailbox.take() == 2
    assert mailbox.put(3) is False


def test_a_cleared_mailbox_is_empty() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    mailbox.clear()
    assert mailbox.put(2) is False


def test_close_ends_a_wait_and_hands_out_nothing_more() -> None:
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int | None] = []
    waiter = threading.Thread(target=lambda: taken.append(mailbox.take()))
    waiter.start()
    mailbox.close()
    waiter.join(10)
    mailbox.put(1)
    assert [*taken, mailbox.take()] == [None, None]


def test_a_busy_worker_skips_to_the_newest_item() -> None:
    handled: list[int] = []
    busy, free = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        handled.append(item)
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

    def handle(item: int) -> None:
        started.set()
        threading.Event().wait(0.1)
        handled.append(item)

    worker = Worker(handle)
    worker.mailbox.put(1)
    assert started.wait(10)
    worker.mailbox.put(2)
    worker.stop()
    assert handled == [1]
