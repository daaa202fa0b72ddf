"""One slot per camera and one thread: the newest item wins, and whoever puts never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

Item = TypeVar("Item")

PATIENCE = 0.1
"""Seconds that a full slot waits for the others: a camera that has stopped does not stop the rest."""


class Mailbox(Generic[Item]):
    """Holds the newest item of each slot until they are taken together."""

    def __init__(self, slots: int = 1, patience: float = PATIENCE) -> None:
        self._slots, self._patience = slots, patience
        self._condition = threading.Condition()
        self._items: dict[int, Item] = {}
        self._first = 0.0
        self._closed = False

    def put(self, item: Item, slot: int = 0) -> bool:
        """Leave an item; returns whether it replaced one that nobody took."""
        with self._condition:
            if not self._items:
                self._first = monotonic()
            replaced = slot in self._items
            self._items[slot] = item
            self._condition.notify()
            return replaced

    def take(self) -> dict[int, Item]:
        """Wait until every slot is full, or one has been for PATIENCE; empty once the mailbox is closed."""
        with self._condition:
            while not self._closed and len(self._items) < self._slots:
                left = self._first + self._patience - monotonic() if self._items else None
                if left is not None and left <= 0:
                    break
                self._condition.wait(left)
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
