"""The soak's node: the real one, which also writes down what comes of every image, a line each.

    SOAK_JOURNAL=FILE soak_node.py --ros-args ...

A line has tabs between its words: monotonic time (ns), what happened, the image's stamp (ns), what the node said of it.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from asymformer_ros.frames.messages import stamp_ns
from asymformer_ros.node.frame_path import FramePath
from asymformer_ros.node.health import Health
from asymformer_ros.node.inputs import Inputs
from asymformer_ros.node.segmentation_node import SegmentationNode, main
from asymformer_ros.node.worker import Mailbox


class Journal:
    """Writes the lines. Each thread has one image in hand, which the node's own accounts are about."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._in_hand = threading.local()

    def take(self, stamp: int | None) -> None:
        """This thread's next lines are about the image with that stamp."""
        self._in_hand.stamp = stamp

    def tell(self, what: str, words: str = "") -> None:
        """A line about the image in hand."""
        self.tell_of(getattr(self._in_hand, "stamp", None), what, words)

    def tell_of(self, stamp: int | None, what: str, words: str = "") -> None:
        """A line about another one; None: about none."""
        words = " ".join(words.split())[:300]
        line = f"{time.monotonic_ns()}\t{what}\t{'' if stamp is None else stamp}\t{words}\n"
        os.write(self._file, line.encode(errors="replace"))

    def listen(self) -> None:
        """From now on, whatever the node does with an image is told."""
        _before(Inputs, "__init__", lambda *_: self.tell_of(None, "active"))
        _before(Inputs, "destroy", lambda *_: self.tell_of(None, "inactive"))
        _before(Inputs, "reset", lambda *_: self.tell_of(None, "time jumped"))
        _before(Inputs, "_on_image", self._came)
        _before(Inputs, "_on_match", self._paired)
        _before(Mailbox, "clear", lambda mailbox: self._dropped(mailbox, "time has jumped"))
        _before(Mailbox, "close", lambda mailbox: self._dropped(mailbox, "the node was deactivated"))
        _before(FramePath, "_requests", lambda path, camera, pair: self.take(stamp_ns(pair.rgb.header)))
        _before(FramePath, "_publish", lambda path, request, _: self.take(stamp_ns(request.pair.rgb.header)))
        _before(SegmentationNode, "on_callback_error", lambda *_: self.take(None))
        _before(Health, "lost", lambda health, kind, words: self.tell(kind, words))
        _before(Health, "unwanted", self._unwanted)
        _before(Health, "served", lambda *_: self.tell("published"))
        self._tell_what_is_replaced()

    def _came(self, inputs: Inputs, stream: int, message: Any) -> None:
        self.take(stamp_ns(message.header))
        self.tell(("colour", "depth")[stream])

    def _paired(self, inputs: Inputs, rgb: Any, depth: Any) -> None:
        self.take(stamp_ns(rgb.header))
        self.tell("paired", str(stamp_ns(depth.header)) if depth else "")

    def _unwanted(self, health: Health) -> None:
        disabled = threading.current_thread() is threading.main_thread()
        self.tell("unwanted", "the node is disabled" if disabled else "nobody subscribes")

    def _dropped(self, mailbox: Any, why: str) -> None:
        for pair in mailbox._items.values():
            self.tell_of(stamp_ns(pair.rgb.header), "dropped", f"{why} while it waited for the network")

    def _tell_what_is_replaced(self) -> None:
        put = Mailbox.put

        def told(mailbox: Any, pair: Any, slot: int = 0) -> bool:
            waiting = mailbox._items.get(slot)
            replaced = put(mailbox, pair, slot)
            if replaced:
                self.tell_of(stamp_ns(waiting.rgb.header), "replaced", "a newer pair came while the network was busy")
            return replaced

        Mailbox.put = told  # type: ignore[method-assign]


def _before(owner: type, name: str, note: Callable[..., None]) -> None:
    """Have `note` called, with the same arguments, before a method."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def noted(*arguments: Any, **named: Any) -> Any:
        note(*arguments, **named) if name != "__init__" else note()
        return method(*arguments, **named)

    setattr(owner, name, noted)


if __name__ == "__main__":
    Journal(os.environ["SOAK_JOURNAL"]).listen()
    sys.exit(main())
