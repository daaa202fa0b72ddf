"""`asymformer doctor`: what this computer has, what it lacks, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asymformer_ros import __version__
from asymformer_ros.cli import doctor_libraries as libraries
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.findings import Finding, worst
from asymformer_ros.optional import installed, require

Check = Callable[[], Finding | list[Finding]]

_AT_ONCE = 4  # libraries that are imported at the same time: each takes memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tell what this computer has, what it lacks, and what to do about it; or, with --rgb and --depth, why two "
        "image topics give no pairs, too few or useless ones. Ends with 1 where there is an error, and with 0 else."
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder of engines to look at")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for scripts")
    topics = parser.add_argument_group("topics", "looked at in place of the computer; see docs/troubleshooting.md")
    topics.add_argument("--rgb", metavar="TOPIC", help="colour image, raw or .../compressed")
    topics.add_argument("--depth", metavar="TOPIC", help="depth image, raw, .../compressedDepth or .../compressed")
    topics.add_argument("--seconds", type=float, default=4.0, metavar="N", help="how long to listen (default: 4)")
    topics.add_argument("--slop", type=float, metavar="S", help="the node's parameter, seconds (default: its own)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one line for each thing, with a second one where something can be done; or all of it as JSON."""
    findings: list[Finding] = []
    for finding in _diagnose(args):
        findings.append(finding)
        if not args.json:
            print(_line(finding), flush=True)
    if args.json:
        data = {"version": __version__, "worst": worst(findings), "findings": [found.to_json() for found in findings]}
        json.dump(data, sys.stdout, indent=2)
        print()
    return int(worst(findings) == "error")


def _diagnose(args: argparse.Namespace) -> Iterable[Finding]:
    if args.rgb is None and args.depth is None:
        return diagnose_installation(args.cache)
    if not (args.rgb and args.depth):
        raise ConfigurationError("--rgb and --depth belong together: give the topic of colour and that of depth")
    require("asymformer doctor --rgb --depth", "rclpy")
    from asymformer_ros.node.topic_doctor import diagnose_topics

    return diagnose_topics(args.rgb, args.depth, args.seconds, args.slop)


def diagnose_installation(folder: Path | None = None) -> Iterator[Finding]:
    """What is found out about this computer, as soon as it is known. folder: of engines. Raises nothing."""
    from asymformer_ros.cli import doctor_machine as machine
    from asymformer_ros.engine.cache import EngineCache
    from asymformer_ros.engine.driver import GpuInfo, probe_gpu

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
    from importlib.metadata import PackageNotFoundError, version  # not for the help, which it would delay

    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _line(finding: Finding) -> str:
    line = f"{finding.severity:<8} {finding.cause:<18} {finding.text}"
    return f"{line}\n{'':<27} -> {finding.advice}" if finding.advice else line
