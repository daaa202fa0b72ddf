"""Memory that programs can have: of the computer, and of the control groups that bound a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from asymformer_ros.memory import available_memory

MEMINFO = "MemTotal:       7990000 kB\nMemFree:         900 kB\nMemAvailable:    4194304 kB\nHugePages_Total:       0\n"
GIB = 1 << 30


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
