"""Large images leave nothing behind in a node's memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytest.importorskip("psutil", reason="looks at a process's memory")

_CODE = """
import sys, numpy, psutil
from asymformer_ros.system.limits import keep_memory_small
if sys.argv[1] == "returned":
    keep_memory_small()
def images():
    large, small = [], []
    for _ in range(30):
        large.append(numpy.ones(9 << 20, numpy.uint8))
        small.append(numpy.ones(60 << 10, numpy.uint8))
    return small
process = psutil.Process()
kept = [images()]
before = process.memory_info().rss
kept.append(images())
print((process.memory_info().rss - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's malloc")
def test_large_images_go_back_to_the_system_when_they_are_freed() -> None:
    def left(how: str) -> int:
        """MiB that stay of thirty images of 9 MiB, with thirty small blocks between them."""
        return int(
            subprocess.run([sys.executable, "-c", _CODE, how], capture_output=True, text=True, check=True).stdout
        )

    assert left("returned") < 20
    assert left("kept") > 100  # else glibc has changed, and this can go


_THREADS = """
import ctypes, sys, threading
from asymformer_ros.system.limits import keep_memory_small
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "few":
    keep_memory_small()
together = threading.Barrier(12)
def work():
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's malloc")
def test_threads_share_two_arenas() -> None:
    def arenas(how: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", _THREADS, how], capture_output=True, text=True, check=True
        ).stdout.count("<heap nr=")

    assert arenas("few") <= 2
    assert arenas("many") > 2  # else glibc has changed, and this can go
