"""What `asymformer doctor` finds out about this computer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from asymformer_ros.cli import doctor_libraries as libraries
from asymformer_ros.cli import doctor_machine as machine
from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.driver import GpuInfo, probe_gpu
from asymformer_ros.findings import Finding
from asymformer_ros.optional import installed

Check = Callable[[], Finding | list[Finding]]

_AT_ONCE = 4  # libraries that are imported at the same time: each takes memory


def diagnose_installation(folder: Path | None = None) -> Iterator[Finding]:
    """What is found out about this computer, as soon as it is known. folder: of engines. Raises nothing."""
    gpu, environment, has_ros, wheels = probe_gpu(), os.environ, installed("rclpy"), _from_pip("ros-rclpy")
    of_ros = libraries.of_ros(wheels) if has_ros else []
    asked = [*libraries.general(isinstance(gpu, GpuInfo)), libraries.RCLPY, *of_ros]
    found: list[Finding] = []
    yield from _answers("python", machine.check_python)
    yield from _answers("gpu", lambda: machine.check_gpu(gpu))
    yield from _answers("cpu", machine.check_cpu)
    yield from _answers("memory", machine.check_memory)
    yield from _answers("shared_memory", machine.check_shared_memory)
    for finding in _imports(asked):
        found.append(finding)
        yield finding
    by_cause = {finding.cause: finding for finding in found}
    builders = {name: by_cause[name].text for name in ("tensorrt", "tensorrt_rtx") if by_cause[name].text[:1].isdigit()}
    yield from _answers("twins", libraries.check_twins)
    yield from _answers("torch_cuda", lambda: machine.check_torch_cuda(by_cause["torch"], gpu))
    yield from _answers("backends", lambda: machine.check_backends(found))
    if has_ros:
        yield from _answers("ros_distribution", lambda: machine.check_distribution(environment, wheels))
        yield from _answers("ros_domain", lambda: machine.check_domain(environment))
        yield from _answers("fastdds_profile", lambda: machine.check_profile(environment))
    yield from _answers("engine_cache", lambda: machine.check_cache(EngineCache(folder)))
    yield from _answers("engine", lambda: machine.check_engines(EngineCache(folder), gpu, builders))
    yield from _answers("weights", machine.check_weights)


def _imports(asked: list[libraries.Library]) -> Iterator[Finding]:
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        try:
            for findings in pool.map(lambda library: _answers(library.name, library.find), asked):
                yield from findings
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            libraries.end_all()
            raise


def _answers(cause: str, check: Check) -> list[Finding]:
    """What a check finds; one that fails is a finding, too."""
    try:
        answer = check()
    except Exception as error:  # the doctor is for computers where things are broken
        return [Finding("warning", cause, f"could not be looked at ({type(error).__name__}: {error})")]
    return answer if isinstance(answer, list) else [answer]


def _from_pip(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
