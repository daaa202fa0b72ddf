"""One slot and one thread: the newest item wins, and whoever puts never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Holds the newest item until it is taken."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Leave an item; returns whether it replaced one that nobody took."""
        with self._condition:
            replaced = self._item is not None
            self._item = item
            self._condition.notify()
            return replaced

    def take(self) -> Item | None:
        """Wait for an item and take it; None once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> None:
        """Throw the waiting item away."""
        with self._condition:
            self._item = None

    def close(self) -> None:
        """End every wait, now and later."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Worker(Generic[Item]):
    """A thread that handles the newest item of a mailbox, one at a time, until it is stopped.

    `handle` must not raise: an exception ends the thread, as a defect of this package should.
    """

    def __init__(self, handle: Callable[[Item], None]) -> None:
        self.mailbox: Mailbox[Item] = Mailbox()
        self._handle = handle
        self._thread = threading.Thread(target=self._run, name="segmentation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the item in hand, drop what waits, end the thread."""
        self.mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        while (item := self.mailbox.take()) is not None:
            self._handle(item)
