"""How many CPUs this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may run on, at most what its CPU quota (cgroup v1 or v2) comes to; at least 1.

    root: where /proc and /sys are.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(round(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of this process's control group and of all above it, in CPUs; those without a limit have none."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        path = PurePosixPath(group)
        for folder in (path, *path.parents):
            quota = _quota(top / str(folder).lstrip("/"), v2=not controllers)
            if quota is not None:
                yield quota


def _quota(folder: Path, *, v2: bool) -> float | None:
    names = ("cpu.max",) if v2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        quota, period = " ".join((folder / name).read_text(encoding="ascii") for name in names).split()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # a container sees its own group at the top alone
        return None
