"""How much memory and how many CPUs this process may use."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUP_FILES = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Of control groups, version 2 and 1: where they are, limit, usage, and what of the usage is given back on demand."""


_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of glibc's mallopt
_LARGE = 4 << 20  # bytes: a colour image of VGA is below
_ARENAS = 2


def keep_memory_small() -> None:
    """Have this process keep little of what it has freed, from now on.

    Blocks of 4 MiB and more go back to the system when they are freed; glibc by itself keeps them once one was freed,
    between small ones, and large images of some seconds would stay as hundreds of MB. Threads share two arenas, in
    place of one for each of them that fragments by itself. Nothing changes where malloc is not glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_ARENA_MAX, _ARENAS)


def return_free_memory() -> None:
    """Have glibc give back what was freed between blocks that are in use, as after a model's file has been read."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def tidy_memory() -> None:
    """Have Python free what only refers to itself, and return that, too: a millisecond or two in the node.

    The collector has little to look at there, for all that was imported is frozen (`node.process`).
    """
    gc.collect()
    return_free_memory()


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that programs can still have: of the computer, or of this process's control groups where that is less.

    A container's limit is one of a control group. root: of the file system that /proc and /sys are in.
    """
    return min([_of_computer(root), *_of_groups(root)])


def _of_computer(root: Path) -> int:
    try:
        return _fields(root / "proc/meminfo")["MemAvailable:"] * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _of_groups(root: Path) -> Iterator[int]:
    """Of each group that this process is in and that has a limit, from the innermost to the outermost."""
    for controllers, group in _groups(root):
        for controller in {*controllers} & {*_GROUP_FILES}:
            base, *names = _GROUP_FILES[controller]
            yield from _left(root / base / group, *names)


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    try:
        used = int((group / usage).read_text()) - _fields(group / "memory.stat").get(reclaimable, 0)
        yield max(0, int((group / limit).read_text()) - used)
    except (OSError, ValueError):  # no such group, or "max": it has no limit
        return


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may run on, at most what its control groups' quota comes to; at least 1."""
    quota = cpu_quota(root)
    cores = len(os.sched_getaffinity(0))
    return cores if quota is None else max(1, min(cores, round(quota)))


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """What Linux calls the instructions of this processor, such as "avx512_bf16"; empty where it does not tell."""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split() for line in lines if line.startswith(("flags", "Features"))), ()))


def computes_bfloat16() -> bool:
    """Whether the CPU has instructions for products of bfloat16; without, they are no quicker than float32's."""
    return not cpu_flags().isdisjoint(("amx_bf16", "avx512_bf16"))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs whose time this process's control groups may take; None without a limit."""
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    """In CPUs, of each group that has one."""
    for controllers, group in _groups(root):
        if "" in controllers:
            files = [root / "sys/fs/cgroup" / group / "cpu.max"]
        elif "cpu" in controllers:
            files = [root / "sys/fs/cgroup/cpu" / group / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
        else:
            continue
        try:
            quota, period = " ".join(file.read_text() for file in files).split()
            if quota not in ("max", "-1"):
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue


def _groups(root: Path) -> Iterator[tuple[list[str], PurePosixPath]]:
    """Controllers ("" for version 2) and path of the groups that this process is in, each with all that are above it.

    In a container, not all of them can be seen.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = PurePosixPath(path.lstrip("/"))
        yield from ((controllers.split(","), group) for group in (inside, *inside.parents))


def _fields(path: Path) -> dict[str, int]:
    """The first two words of each line of a file."""
    return {name: int(value) for name, value, *_ in (line.split() for line in path.read_text().splitlines() if line)}
