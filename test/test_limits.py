"""Memory and CPUs that this process may use: of the computer, and of the control groups that bound a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asymformer_ros.system.limits import available_memory, usable_cpus

MEMINFO = "MemTotal:       7990000 kB\nMemFree:         900 kB\nMemAvailable:    4194304 kB\nHugePages_Total:       0\n"
GIB = 1 << 30
ALLOWED = len(os.sched_getaffinity(0))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def of_version_2(folder: str, limit: str, usage: int, reclaimable: int) -> dict[str, str]:
    return {
        f"sys/fs/cgroup/{folder}memory.max": f"{limit}\n",
        f"sys/fs/cgroup/{folder}memory.current": f"{usage}\n",
        f"sys/fs/cgroup/{folder}memory.stat": f"anon 1\ninactive_file {reclaimable}\n",
    }


def test_there_is_some_here() -> None:
    assert 1 << 24 < available_memory() < 1 << 50


def test_it_is_what_the_system_says_where_nothing_bounds_it(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", **of_version_2("", "max", GIB, 0)}
    assert available_memory(write(tmp_path, {})) == available_memory(write(tmp_path, files)) == 4 * GIB


@pytest.mark.parametrize("path", ["/", "/docker/a1b2"])
def test_a_containers_limit_counts_without_the_files_that_it_only_caches(tmp_path: Path, path: str) -> None:
    files = {"proc/self/cgroup": f"1:name=systemd:{path}\n0::{path}\n", **of_version_2("", str(2 * GIB), GIB, GIB // 4)}
    assert available_memory(write(tmp_path, files)) == 5 * GIB // 4


def test_the_tightest_of_the_groups_around_a_process_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/robot.slice/node.service\n",
        **of_version_2("robot.slice/", str(GIB), GIB // 2, 0),
        **of_version_2("robot.slice/node.service/", str(3 * GIB), 0, 0),
    }
    assert available_memory(write(tmp_path, files)) == GIB // 2


def test_a_limit_of_the_first_version_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "9:cpu,cpuacct:/docker/a1\n4:memory:/docker/a1\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 2}\n",
        "sys/fs/cgroup/memory/memory.stat": f"cache 7\ntotal_inactive_file {GIB // 4}\n",
    }
    assert available_memory(write(tmp_path, files)) == 3 * GIB // 4


def test_more_in_use_than_allowed_is_nothing_left(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", **of_version_2("", str(GIB), 2 * GIB, 0)}
    assert available_memory(write(tmp_path, files)) == 0


@pytest.mark.parametrize("meminfo", ["", "MemTotal: many kB\n", "MemTotal: 7990000 kB\n"])
def test_a_system_that_does_not_say_has_half_of_its_memory(tmp_path: Path, meminfo: str) -> None:
    assert available_memory(write(tmp_path, {"proc/meminfo": meminfo})) > 1 << 24


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, ALLOWED),
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/system.slice/node.service\n", {"system.slice/cpu.max": "100000 100000\n"}, 1),
        ("0::/gone\n", {}, ALLOWED),
        ("4:cpu,cpuacct:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 1),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, ALLOWED),
        ("0::/\n", {"cpu.max": "rubbish\n"}, ALLOWED),
        (None, {}, ALLOWED),
    ],
)
def test_a_cpu_quota_counts(tmp_path: Path, cgroup: str | None, files: dict[str, str], expected: int) -> None:
    groups = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    own = {} if cgroup is None else {"proc/self/cgroup": cgroup}
    assert usable_cpus(write(tmp_path, {**own, **groups})) == expected
