"""How much memory there is for programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUP_FILES = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Of control groups, version 2 and 1: where they are, limit, usage, and what of the usage is given back on demand."""


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
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controller, path in groups:
        if controller not in _GROUP_FILES:
            continue
        base, *names = _GROUP_FILES[controller]
        inside = PurePosixPath(path.lstrip("/"))
        for group in (inside, *inside.parents):  # in a container, not all of them can be seen
            yield from _left(root / base / group, *names)


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    try:
        used = int((group / usage).read_text()) - _fields(group / "memory.stat").get(reclaimable, 0)
        yield max(0, int((group / limit).read_text()) - used)
    except (OSError, ValueError):  # no such group, or "max": it has no limit
        return


def _fields(path: Path) -> dict[str, int]:
    """The first two words of each line of a file."""
    return {name: int(value) for name, value, *_ in (line.split() for line in path.read_text().splitlines() if line)}
