"""Load to measure beside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from asymformer_ros.system.signals import end_with_parent

_SPIN = "while True: pass"


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but take a core, meanwhile; they end with this one, however it ends.

    They are in this session, as a launch's nodes are in one: Linux shares cores among sessions first (autogroup), and
    two loops with a session each would leave this process a third of two cores, however many threads it has.
    """
    loops: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            ending = partial(_begin, os.getpid())
            loops.append(subprocess.Popen([sys.executable, "-c", _SPIN], preexec_fn=ending))
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _begin(parent: int) -> None:
    os.setpgid(0, 0)  # Ctrl-C is not for the loops
    end_with_parent(parent)
