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
    """So many processes that do nothing but take a core, meanwhile; they end with this one, however it ends."""
    loops: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            ending = partial(end_with_parent, os.getpid())
            loops.append(subprocess.Popen([sys.executable, "-c", _SPIN], preexec_fn=ending, start_new_session=True))
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
