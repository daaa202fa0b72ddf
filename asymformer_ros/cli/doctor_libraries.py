"""The libraries that `asymformer doctor` asks about; each is imported in a process of its own, where it may crash."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

from asymformer_ros.findings import Finding
from asymformer_ros.optional import BRINGS, installed

_PATIENCE = 120.0  # seconds for one library to import
_OTHER_NUMPY = re.compile(r"compiled using NumPy 1\.x|numpy\.core\.multiarray failed to import|_ARRAY_API not found")
_BRINGS = {
    **BRINGS,
    "numpy": "`pip install 'numpy>=1.26'`",
    "cv2": "`pip install opencv-python-headless`",
    "asymformer_ros.msg": "build the package with colcon and source install/setup.bash, or `pip install .` where "
    "rclpy is installed",
}


@dataclass(frozen=True)
class Library:
    """A library by its import name.

    code: prints its version and what else to tell. purpose: what it is for. least: the oldest version.
    missing, broken: severity where it is not installed, or fails to load.
    """

    name: str
    code: str
    purpose: str = ""
    least: str = ""
    missing: str = "warning"
    broken: str = "error"

    def find(self) -> list[Finding]:
        """What there is of it."""
        if not installed(self.name):
            return [self._finding(self.missing, "not installed", self._brings)]
        text, loads = ask(self.code)
        if not loads:
            return [self._finding(self.broken, text, f"install it again: {self._brings}")]
        if _older(text, self.least):
            return [self._finding("warning", f"{text} is older than {self.least}", self._brings)]
        return [Finding("ok", self.name, text)]

    @property
    def _brings(self) -> str:
        return _BRINGS.get(self.name, BRINGS["cv_bridge"])

    def _finding(self, severity: str, text: str, advice: str) -> Finding:
        text = f"{text}; {self.purpose}" if self.purpose else text
        return Finding(severity, self.name, text, "" if severity == "ok" else advice)


def _version(module: str) -> str:
    return f"import {module}; print({module}.__version__)"


_TORCH = """
import numpy, torch
torch.from_numpy(numpy.zeros(1))
cuda = torch.cuda.is_available()
if cuda: (torch.zeros(1, device="cuda") + 1).cpu()
print(torch.__version__, f"for CUDA {torch.version.cuda}, on {torch.cuda.get_device_name()}" if cuda else "CPU only")
"""
_ONNXRUNTIME = "import onnxruntime as o; print(o.__version__, ', '.join(o.get_available_providers()))"
_TENSORRT = """
import sys, {0} as trt
try: {1} and trt.Builder(trt.Logger(trt.Logger.ERROR))
except TypeError: sys.exit(trt.__version__ + " cannot start on this GPU: is the NVIDIA driver new enough for it?")
print(trt.__version__)
"""
_SCIPY = "import scipy, scipy.io; print(scipy.__version__)"
_EMBREE = "import embreex, trimesh; print('with trimesh', trimesh.__version__)"
_SIMULATION = "only for camera:=sim, the demo and `asymformer render`"
_PYCUDA = "import pycuda, pycuda.driver as cuda; print(pycuda.VERSION_TEXT)"
_RCLPY = """
import rclpy
from rclpy.utilities import get_rmw_implementation_identifier
print("with", get_rmw_implementation_identifier())
"""
_TYPES = """
from rclpy.type_support import check_for_type_support
from {0} import {1}
for type in ({1},): check_for_type_support(type)
print("{1}")
"""
_CV_BRIDGE = """
from array import array
import numpy
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
CvBridge().imgmsg_to_cv2(Image(height=2, width=2, step=4, encoding="yuv422", data=array("B", bytes(8))), "rgb8")
print("converts, with NumPy", numpy.__version__)
"""


def general(has_gpu: bool) -> list[Library]:
    """Those that have nothing to do with ROS. has_gpu: whether TensorRT could run."""
    for_gpu = "warning" if has_gpu else "ok"
    trt, rtx = (_TENSORRT.format(name, has_gpu) for name in ("tensorrt", "tensorrt_rtx"))
    return [
        Library("numpy", _version("numpy"), least="1.26", missing="error"),
        Library("cv2", _version("cv2"), least="4.6", missing="error"),
        Library("safetensors", _version("safetensors"), "models are stored with it", "0.4", missing="error"),
        Library("torch", _TORCH, "serves bundles, trains", "2.2", broken="warning"),
        Library("onnxruntime", _ONNXRUNTIME, "serves .onnx files", "1.17", broken="warning"),
        Library("onnx", _version("onnx"), "engines and ONNX models need it", "1.15", broken="warning"),
        Library("tensorrt", trt, "serves on an NVIDIA GPU", "8.6", for_gpu, broken=for_gpu),
        Library("tensorrt_rtx", rtx, "for GeForce RTX, or to build without a GPU", missing="ok", broken=for_gpu),
        Library("pycuda", _PYCUDA, "runs TensorRT's engines", missing=for_gpu, broken=for_gpu),
        Library("scipy", "import scipy, scipy.io; print(scipy.__version__)", "only for NYUv2's .mat files", "", "ok"),
        Library(
            "embreex", "import embreex, trimesh; print('with trimesh', trimesh.__version__)", _SIMULATION, "", "ok"
        ),
    ]


_LABEL_INFO = "without its LabelInfo (2022-11 and newer) segmentation/label_info is not published"
_UPDATER = "from diagnostic_updater import Updater; print('sends /diagnostics')"
_FILTERS = "import message_filters; print('feeds the pairing')"

RCLPY = Library("rclpy", _RCLPY, "without it there is no node: files can be segmented, models trained and evaluated")


def of_ros(wheels: bool) -> list[Library]:
    """Those that are looked at where rclpy is. wheels: whether it comes from pip, which has not all of them."""
    not_in_pip = "ok" if wheels else "warning"
    return [
        Library("sensor_msgs", _TYPES.format("sensor_msgs.msg", "Image, CompressedImage, CameraInfo"), missing="error"),
        Library("diagnostic_msgs", _TYPES.format("diagnostic_msgs.msg", "DiagnosticArray"), missing="error"),
        Library("asymformer_ros.msg", _TYPES.format("asymformer_ros.msg", "SegmentationSummary"), missing="error"),
        Library("vision_msgs", _TYPES.format("vision_msgs.msg", "LabelInfo"), _LABEL_INFO, "", not_in_pip, "warning"),
        Library("message_filters", _FILTERS, "the package's own stand-in feeds the pairing", missing="ok"),
        Library("diagnostic_updater", _UPDATER, "the package's own stand-in sends the same messages", missing="ok"),
        Library("cv_bridge", _CV_BRIDGE, "only for bayer of 16 bit and YUV colour images", "", "ok", "warning"),
        Library("launch_ros", "import launch_ros; print('there')", "only for `ros2 launch`", missing=not_in_pip),
    ]


_running: set[subprocess.Popen[str]] = set()


def ask(code: str) -> tuple[str, bool]:
    """What a piece of Python prints in a process of its own, and whether it ended well; else the reason in a line."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd="/",  # what lies in the user's folder shall not be imported
        env={**os.environ, "PYTHONPATH": path},
    )
    _running.add(child)
    try:
        out, err = child.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return f"did not answer within {_PATIENCE:.0f} s", False
    finally:
        _running.discard(child)
        child.kill()
    return _answer(child.returncode, out.strip().splitlines(), err.strip())


def end_all() -> None:
    """Kill what is being asked."""
    for child in list(_running):
        child.kill()


def check_twins() -> list[Finding]:
    """Packages that install one library over the other."""
    from importlib.metadata import distributions  # not for the help, which it would delay

    there = {str(found.metadata["Name"]).lower() for found in distributions() if found.metadata["Name"]}
    findings = []
    for library, pattern in (("cv2", r"opencv(-contrib)?-python(-headless)?"), ("onnxruntime", r"onnxruntime(-\w+)?")):
        twins = sorted(name for name in there if re.fullmatch(pattern, name))
        if len(twins) > 1:
            advice = f"uninstall them all, then install one: `pip uninstall {' '.join(twins)}`"
            findings.append(
                Finding("warning", f"{library}_twice", f"{' and '.join(twins)} overwrite each other", advice)
            )
    return findings


def _answer(code: int, out: list[str], err: str) -> tuple[str, bool]:
    if code == 0 and not _OTHER_NUMPY.search(err):
        return (out or [""])[-1], True
    if _OTHER_NUMPY.search(err):
        return (
            "is built for NumPy 1, and NumPy 2 is installed (`pip install 'numpy<2'` helps)",
            False,
        )
    if code < 0:
        return f"crashes when it is imported ({signal.Signals(-code).name})", False
    return (err.splitlines() or ["fails to load without a reason"])[-1], False


def _older(text: str, least: str) -> bool:
    version, oldest = (tuple(map(int, re.findall(r"\d+", part)[:2])) for part in (text, least))
    return bool(version) and version < oldest
