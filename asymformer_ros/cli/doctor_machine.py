"""What `asymformer doctor` looks at beside libraries: GPU, cores, memory, ROS's surroundings, engines, weights."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asymformer_ros import __version__
from asymformer_ros.engine.cache import Engine, EngineCache, Stale
from asymformer_ros.engine.driver import GpuInfo, NoGpu
from asymformer_ros.engine.manifest import EngineIdentity
from asymformer_ros.findings import Finding
from asymformer_ros.models.catalogue import HOW_TO_GET_ONE, KNOWN, NYUV2, KnownWeights
from asymformer_ros.system.limits import available_memory, cpu_quota, usable_cpus

DISTRIBUTIONS = ("humble", "iron", "jazzy", "kilted", "lyrical", "rolling")
_LARGEST_DOMAIN = 232
_SHARED_MB = 128  # what a camera, the node and `asymformer train` take without a thought
_MEMORY_MB = 1500  # PyTorch and the published model; a build of its engine
_CACHE_MB = 1000  # an engine and what its build writes
_DRIVER = Path("/proc/driver/nvidia/version")


def check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("ok", "python", f"{version} on {os.uname().machine}, asymformer_ros {__version__}")


def check_gpu(gpu: GpuInfo | NoGpu, driver: Path = _DRIVER) -> Finding:
    """The GPU and its driver; one that the driver's kernel part sees and CUDA cannot use is worth a warning."""
    version = re.search(r"\d+\.[\d.]+", driver.read_text()) if driver.is_file() else None
    if isinstance(gpu, GpuInfo):
        memory = f"{gpu.memory / 2**30:.0f} GiB" + (" shared with the CPU" if gpu.integrated else "")
        return Finding("ok", "gpu", f"{gpu}, {memory}" + (f", driver {version[0]}" if version else ""))
    if version:
        advice = "start a container with `--gpus all`; else install the CUDA library of this driver's version"
        return Finding("warning", "gpu", f"driver {version[0]} is loaded, but {gpu}", advice)
    return Finding("ok", "gpu", f"none: PyTorch or ONNX Runtime serve on the CPU ({gpu})")


def check_torch_cuda(torch: Finding, gpu: GpuInfo | NoGpu) -> list[Finding]:
    """A PyTorch that does not use the GPU which is there."""
    if torch.severity != "ok" or isinstance(gpu, NoGpu) or "CPU only" not in torch.text:
        return []
    text = f"PyTorch {torch.text}, though there is {gpu}"
    return [Finding("warning", "torch_cuda", text, "install PyTorch for a CUDA that the driver can run")]


def check_backends(findings: list[Finding]) -> Finding:
    """Whether anything can run a model."""
    able = [found.cause for found in findings if found.cause in ("torch", "onnxruntime") and found.severity == "ok"]
    if able:
        return Finding("ok", "backends", " and ".join(able))
    return Finding(
        "error",
        "backends",
        "nothing here can run a model",
        "install one: `pip install torch`, or `pip install onnx onnxruntime`",
    )


def check_cpu() -> Finding:
    """Cores that this process may use, and the time on them that its control groups may take."""
    cores, quota = len(os.sched_getaffinity(0)), cpu_quota()
    limit = "" if quota is None else f", {quota:g} cores' time by quota"
    text = f"{cores} of {os.cpu_count()} cores{limit}"
    if usable_cpus() > 1:
        return Finding("ok", "cpu", text)
    advice = "give it two at least (`taskset`, `docker run --cpus`, CPUQuota= of systemd)"
    return Finding("warning", "cpu", text, f"the network leaves nothing to the camera's messages: {advice}")


def check_memory() -> Finding:
    """Memory that is left, within a container's limit."""
    free = available_memory() / 1e6
    if free >= _MEMORY_MB:
        return Finding("ok", "memory", f"{free:.0f} MB free")
    advice = "close other programs, or raise the container's limit: engine builds and PyTorch may be killed"
    return Finding("warning", "memory", f"{free:.0f} MB free", advice)


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Where Fast DDS passes images and the workers of training pass batches."""
    advice = "in a container: `--shm-size=1g`, or `--ipc=host`"
    if not os.access(folder, os.W_OK):
        return Finding("warning", "shared_memory", f"{folder} is not there or cannot be written", advice)
    usage = shutil.disk_usage(folder)
    text = f"{folder} has {usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB free"
    small = usage.free < _SHARED_MB * 1e6
    return Finding("warning" if small else "ok", "shared_memory", text, advice if small else "")


def check_distribution(environment: Mapping[str, str], wheels: bool) -> Finding:
    """wheels: whether rclpy comes from the package index."""
    name = environment.get("ROS_DISTRO", "")
    middleware = environment.get("RMW_IMPLEMENTATION") or "the default middleware"
    if name and wheels:
        advice = "use one of them, in a new shell: they load each other's libraries"
        return Finding("warning", "ros_distribution", f"{name} is sourced beside the ROS wheels of pip", advice)
    if not name:
        text = "the ROS wheels of pip" if wheels else "ROS_DISTRO is not set"
        advice = "" if wheels else "source /opt/ros/DISTRO/setup.bash, if there is a ROS distribution here"
        return Finding("ok" if wheels else "warning", "ros_distribution", f"{text}, {middleware}", advice)
    known = name in DISTRIBUTIONS
    advice = "" if known else f"this package is for {', '.join(DISTRIBUTIONS)}"
    return Finding("ok" if known else "warning", "ros_distribution", f"{name}, {middleware}", advice)


def check_domain(environment: Mapping[str, str]) -> Finding:
    """Who is heard: nodes of another domain, or beyond the range of discovery, are not there."""
    domain = environment.get("ROS_DOMAIN_ID") or "0"
    if not (domain.isdecimal() and int(domain) <= _LARGEST_DOMAIN):
        advice = f"set it to a number from 0 to {_LARGEST_DOMAIN}, the same for all nodes"
        return Finding("error", "ros_domain", f"ROS_DOMAIN_ID is '{domain}'", advice)
    limits = [name for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY") if environment.get(name)]
    return Finding("ok", "ros_domain", ", ".join([domain, *(f"{name}={environment[name]}" for name in limits)]))


def check_profile(environment: Mapping[str, str]) -> Finding:
    """The Fast DDS profile without which large images may be lost."""
    from asymformer_ros.node.fastdds import CHOSEN_BY_USER, large_message_environment

    cause, middleware = "fastdds_profile", environment.get("RMW_IMPLEMENTATION", "")
    if middleware and "fastrtps" not in middleware:
        return Finding("ok", cause, f"not for {middleware}")
    chosen = [name for name in CHOSEN_BY_USER if environment.get(name)]
    if chosen:
        name, value = chosen[0], environment[chosen[0]]
        if name.endswith("_FILE") and not Path(value).is_file():
            return Finding("error", cause, f"{name} names {value}, which is not there", f"unset {name}")
        return Finding("ok", cause, f"{name}={value}")
    try:
        ((name, value),) = large_message_environment(environment).items()
    except FileNotFoundError as error:
        return Finding("warning", cause, str(error), "install the package again")
    advice = f"launch files set it; for a camera driver that you start yourself: export {name}={value}"
    return Finding("warning", cause, "not set in this shell", advice)


def check_cache(cache: EngineCache) -> Finding:
    """Whether engines can be kept. Makes no folder."""
    folder = cache.folder
    there = next((parent for parent in (folder, *folder.parents) if parent.exists()), Path("/"))
    probe = there / f".asymformer_doctor.{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
        free = shutil.disk_usage(there).free / 1e6
    except OSError as error:
        advice = "choose a folder with the parameter `engine_cache`; without one no engine is built"
        return Finding("warning", "engine_cache", f"{folder} cannot be written: {error.strerror}", advice)
    text = f"{folder}{'' if there == folder else ' (made when it is needed)'}, {free:.0f} MB free"
    if free < _CACHE_MB:
        return Finding("warning", "engine_cache", text, f"make room: building an engine takes up to {_CACHE_MB} MB")
    return Finding("ok", "engine_cache", text)


def check_engines(cache: EngineCache, gpu: GpuInfo | NoGpu, builders: Mapping[str, str]) -> list[Finding]:
    """Each engine: whether it runs here, or why not. builders: versions of the builders that are installed."""

    def here(found: EngineIdentity) -> EngineIdentity:
        known = replace(found, builder_version=builders.get(found.builder, ""), package_version=__version__)
        if isinstance(gpu, NoGpu):
            return replace(known, gpu="", compute_capability="", multiprocessors=0, memory_gib=0)
        return replace(
            known,
            gpu=gpu.name,
            compute_capability=gpu.capability,
            multiprocessors=gpu.multiprocessors,
            memory_gib=round(gpu.memory / 2**30),
        )

    return [_engine(name, found) for name, found in cache.survey(here)]


def _engine(name: str, found: Engine | Stale) -> Finding:
    if isinstance(found, Stale):
        advice = "the node builds it anew, `asymformer build-engine MODEL` does so now; an old folder can be deleted"
        return Finding("warning", "engine", f"{name} cannot be used here: {'; '.join(found.reasons)}", advice)
    manifest = found.manifest
    what = f"{manifest.served_precision}, {manifest.identity.builder} {manifest.identity.builder_version}"
    return Finding("ok", "engine", f"{name} ({what}, {manifest.plan_bytes / 1e6:.0f} MB) is valid for this GPU")


def check_weights() -> list[Finding]:
    """The weights that are known by name: which are here, and whether their files are whole."""
    return [_weights(known) for known in KNOWN]


def _weights(known: KnownWeights) -> Finding:
    here = [path for path in (known.bundle, known.onnx) if path.is_file()]
    if not here:
        severity, advice = ("warning", HOW_TO_GET_ONE) if known == NYUV2 else ("error", "install the package again")
        return Finding(severity, "weights", f"{known.name}: not here", advice)
    if damage := known.damage():
        return Finding("error", "weights", f"{known.name}: {known.bundle} is damaged ({damage})", HOW_TO_GET_ONE)
    return Finding("ok", "weights", f"{known.name}: {', '.join(map(str, here))}")
