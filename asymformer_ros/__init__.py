"""Semantic segmentation of RGB-D images with AsymFormer, for ROS 2 and for Python.

    import asymformer_ros

    segmenter = asymformer_ros.load("demo")
    result = segmenter("rgb.png", "depth.png")

`load` opens a model as a `Segmenter`, which makes a `Segmentation` of a colour and a depth image. Nothing is imported
before it is used.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asymformer_ros.frames.frame import RgbdFrame
    from asymformer_ros.inference.segmentation import Segmentation
    from asymformer_ros.inference.segmenter import Segmenter, load
    from asymformer_ros.inference.smoothing import TemporalSmoothing
    from asymformer_ros.models.labels import LabelSet

__version__ = "0.1.0"
__all__ = ["LabelSet", "RgbdFrame", "Segmentation", "Segmenter", "TemporalSmoothing", "load"]

_HOMES = {
    "LabelSet": "models.labels",
    "RgbdFrame": "frames.frame",
    "Segmentation": "inference.segmentation",
    "Segmenter": "inference.segmenter",
    "TemporalSmoothing": "inference.smoothing",
    "load": "inference.segmenter",
}

# Read by OpenMP when PyTorch loads it: threads that spin take the cores from each other as soon as anything else needs
# one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The generated asymformer_ros.msg lies in the installed package: a source tree in front of it must not hide it.
# This is pkgutil.extend_path for folders, without its imports.
__path__ += [
    place for entry in sys.path if (place := os.path.join(entry, __name__)) not in __path__ and os.path.isdir(place)
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for first (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
