"""One slot per camera and one thread: the newest item wins, and whoever puts never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

Item = TypeVar("Item")

LONGEST_WAIT = 0.03
"""Seconds that a full slot waits for one whose next item is due within that time: cameras that are triggered together
are handled together."""


class Mailbox(Generic[Item]):
    """Holds the newest item of each slot until they are taken together."""

    def __init__(self, slots: int = 1, longest_wait: float = LONGEST_WAIT) -> None:
        self._longest_wait = longest_wait
        self._condition = threading.Condition()
        self._items: dict[int, Item] = {}
        self._put: list[tuple[float, float]] = [(0.0, 0.0)] * slots  # when the last two items of each slot came
        self._first = 0.0
        self._closed = False

    def put(self, item: Item, slot: int = 0) -> bool:
        """Leave an item; returns whether it replaced one that nobody took."""
        with self._condition:
            now = monotonic()
            self._put[slot] = (self._put[slot][1], now)
            if not self._items:
                self._first = now
            replaced = slot in self._items
            self._items[slot] = item
            self._condition.notify()
            return replaced

    def take(self) -> dict[int, Item]:
        """Wait for an item, and no longer than LONGEST_WAIT for what is due; empty once the mailbox is closed."""
        with self._condition:
            while not self._closed and (not self._items or self._something_is_due()):
                self._condition.wait(self._first + self._longest_wait - monotonic() if self._items else None)
            items, self._items = self._items, {}
            return {} if self._closed else items

    def clear(self) -> None:
        """Throw away what waits."""
        with self._condition:
            self._items = {}

    def close(self) -> None:
        """End every wait, now and later."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _something_is_due(self) -> bool:
        """Whether an empty slot should get its next item soon, by its last period: one that is silent should not."""
        now, end = monotonic(), self._first + self._longest_wait
        empty = (times for slot, times in enumerate(self._put) if slot not in self._items)
        due = (last + (last - before) for before, last in empty if before)
        return now < end and any(now - self._longest_wait < time < end for time in due)


class Worker(Generic[Item]):
    """A thread that handles the newest items of a mailbox, one set at a time, until it is stopped.

    `handle` must account for what goes wrong with an item. What it raises all the same ends the thread, and `failure`
    holds it: whoever owns the worker looks there.
    """

    def __init__(self, handle: Callable[[dict[int, Item]], None], slots: int = 1) -> None:
        self.mailbox: Mailbox[Item] = Mailbox(slots)
        self.failure: BaseException | None = None
        self._handle = handle
        self._thread = threading.Thread(target=self._run, name="segmentation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, drop what waits, end the thread."""
        self.mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while items := self.mailbox.take():
                self._handle(items)
        except BaseException as error:  # SystemExit, too: a library may raise it
            self.failure = error
