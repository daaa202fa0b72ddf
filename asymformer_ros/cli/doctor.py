"""`asymformer doctor`: what this computer has, what it lacks, and what to do about it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from asymformer_ros import __version__
from asymformer_ros.cli.options import Subparsers
from asymformer_ros.models.catalogue import HOW_TO_GET_ONE, KNOWN, NYUV2
from asymformer_ros.optional import BRINGS

_PATIENCE = 120.0  # seconds for one library to import


@dataclass(frozen=True)
class Finding:
    """One line of the answer. remedy: what to do, "" where all is well. needed: whether nothing works without it."""

    name: str
    text: str
    remedy: str = ""
    needed: bool = False

    def __str__(self) -> str:
        state = "ok" if not self.remedy else "MISSING" if self.needed else "warn"
        return f"{state:<8} {self.name:<16} {self.text}" + (f"\n{'':<25} -> {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Library:
    """A library that is imported in a process of its own, where it may crash. code: prints what to tell of it."""

    name: str
    code: str
    remedy: str
    needed: bool = False

    def find(self) -> Finding:
        text, found = ask(self.code)
        return Finding(self.name, text, "" if found else self.remedy, self.needed)


_TORCH = """
import torch
cuda = torch.cuda.is_available()
print(torch.__version__, f"CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}" if cuda else "CPU only")
"""
_ROS = """
import rclpy
from rclpy.utilities import get_rmw_implementation_identifier
print("rclpy, middleware", get_rmw_implementation_identifier())
"""

LIBRARIES = (
    Library("NumPy", "import numpy; print(numpy.__version__)", "`pip install 'numpy>=1.26'`", needed=True),
    Library("OpenCV", "import cv2; print(cv2.__version__)", "`pip install opencv-python-headless`", needed=True),
    Library("safetensors", "import safetensors; print(safetensors.__version__)", BRINGS["safetensors"], True),
    Library("PyTorch", _TORCH, BRINGS["torch"]),
    Library(
        "ONNX Runtime",
        "import onnxruntime as o; print(o.__version__, ', '.join(o.get_available_providers()))",
        "`pip install onnx onnxruntime`",
    ),
    Library("ONNX", "import onnx; print(onnx.__version__)", f"{BRINGS['onnx']}: engines and ONNX models need it"),
    Library(
        "TensorRT",
        "import tensorrt; print(tensorrt.__version__)",
        f"only for serving on an NVIDIA GPU: {BRINGS['tensorrt']}",
    ),
    Library(
        "TensorRT-RTX",
        "import tensorrt_rtx; print(tensorrt_rtx.__version__)",
        f"only for GeForce RTX, or to try engine builds without a GPU: {BRINGS['tensorrt_rtx']}",
    ),
    Library(
        "Simulated world",
        "import embreex, trimesh; print('trimesh', trimesh.__version__, 'with Embree')",
        f"only for camera:=sim, the demo and `asymformer render`: {BRINGS['trimesh']}",
    ),
    Library("ROS 2", _ROS, BRINGS["rclpy"]),
    Library(
        "Messages",
        "from asymformer_ros.msg import SegmentationSummary as s; print('asymformer_ros/' + s.__name__)",
        "build the package with colcon and source install/setup.bash, or `pip install .` where rclpy is installed",
    ),
)


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="tell what this computer has and lacks",
        description="Tell what this computer has, what it lacks, and what to do about it. "
        "Ends with 1 only where something is missing without which nothing runs.",
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder of engines to look at")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one line per thing, with a second one where something can be done."""
    checks: list[Callable[[], Finding]] = [
        check_python,
        check_gpu,
        *(library.find for library in LIBRARIES),
        check_distribution,
        check_profile,
        lambda: check_cache(args.cache),
        check_weights,
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:
        findings = list(pool.map(lambda check: check(), checks))
    findings.append(check_backend(findings))
    for finding in findings:
        print(finding)
    return int(any(finding.needed and finding.remedy for finding in findings))


def ask(code: str) -> tuple[str, bool]:
    """What a piece of Python prints in a process of its own, and whether it ended well; else the reason in a line."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return f"did not answer within {_PATIENCE:.0f} s", False
    if answer.returncode == 0:
        return (answer.stdout.strip().splitlines() or [""])[-1], True
    if answer.returncode < 0:
        return f"crashes when it is imported ({signal.Signals(-answer.returncode).name})", False
    said = answer.stderr.strip().splitlines() or ["no reason given"]
    return ("not installed" if said[-1].startswith("ModuleNotFoundError") else said[-1]), False


def check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 10)
    return Finding("Python", f"{version}, asymformer_ros {__version__}", "use Python 3.10 to 3.12" if old else "", True)


def check_gpu() -> Finding:
    from asymformer_ros.engine.driver import NoGpu, probe_gpu

    gpu = probe_gpu()
    remedy = "without one PyTorch or ONNX Runtime serve on the CPU; with one, install NVIDIA's driver (`nvidia-smi`)"
    return Finding("GPU", str(gpu), remedy if isinstance(gpu, NoGpu) else "")


def check_backend(findings: list[Finding]) -> Finding:
    """Whether anything can run a model."""
    able = [found.name for found in findings if found.name in ("PyTorch", "ONNX Runtime") and not found.remedy]
    remedy = "" if able else "install one: `pip install torch`, or `pip install onnx onnxruntime`"
    return Finding("Backends", " and ".join(able) or "nothing here can run a model", remedy, needed=True)


def check_distribution() -> Finding:
    distribution = os.environ.get("ROS_DISTRO", "")
    middleware = os.environ.get("RMW_IMPLEMENTATION") or "the distribution's default middleware"
    remedy = "" if distribution else "fine with the ROS wheels of pip; else source /opt/ros/DISTRO/setup.bash"
    return Finding("ROS distribution", f"{distribution or 'ROS_DISTRO is not set'}, {middleware}", remedy)


def check_profile() -> Finding:
    """The Fast DDS profile without which large images may be lost."""
    from asymformer_ros.node.fastdds import CHOSEN_BY_USER, large_message_environment

    chosen = [name for name in CHOSEN_BY_USER if os.environ.get(name)]
    if chosen:
        return Finding("Fast DDS profile", f"{chosen[0]}={os.environ[chosen[0]]}")
    try:
        ((name, value),) = large_message_environment(os.environ).items()
    except FileNotFoundError as error:
        return Finding("Fast DDS profile", str(error), "install the package again")
    remedy = f"launch files set it; for processes that you start yourself: export {name}={value}"
    return Finding("Fast DDS profile", "not set in this shell", remedy)


def check_weights() -> Finding:
    """Which of the weights that are known by name are here."""
    here = [known.name for known in KNOWN if known.bundle.is_file() or known.onnx.is_file()]
    return Finding("Weights", ", ".join(here) or "none", "" if NYUV2.name in here else HOW_TO_GET_ONE)


def check_cache(folder: Path | None) -> Finding:
    """Whether engines can be kept, and which there are."""
    from asymformer_ros.engine.cache import EngineCache, writable
    from asymformer_ros.errors import ConfigurationError

    cache = EngineCache(folder)
    probe = cache.folder / f".probe.{os.getpid()}"
    try:
        with writable(cache.folder):
            probe.touch()
            probe.unlink()
    except ConfigurationError as error:
        return Finding("Engine cache", str(error), "without it the engine is built at each start")
    engines = [
        f"{engine.manifest.identity.model_name} ({engine.manifest.served_precision}, "
        f"{engine.manifest.identity.builder} {engine.manifest.identity.builder_version}, "
        f"{engine.manifest.identity.gpu or 'no GPU'}, {engine.manifest.plan_bytes / 1e6:.0f} MB)"
        for engine in cache.contents()
    ]
    return Finding("Engine cache", f"{cache.folder}: {'; '.join(engines) or 'empty'}")
