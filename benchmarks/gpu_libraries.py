"""The environment of the parts of `scripts/gpu_check`: with TensorRT from a folder where it cannot be installed."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PRELOAD = """
import ctypes, glob, os, sys
sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL)
dlopen = ctypes.CDLL(None).dlopen  # ctypes' own way resolves every symbol at once
dlopen.restype, waiting = ctypes.c_void_p, sorted(glob.glob({folder!r} + "/**/lib*.so*", recursive=True))
for _ in range(len(waiting)):  # one that needs another comes in after it
    waiting = [path for path in waiting if not dlopen(os.fsencode(path), os.RTLD_LAZY | os.RTLD_GLOBAL)]
try:
    import tensorrt
except ImportError:
    tensorrt = None
if tensorrt is not None and hasattr(tensorrt, "TacticSource") and tensorrt.__version__.startswith("8."):
    make, sources = tensorrt.Builder.create_builder_config, tensorrt.TacticSource
    def limited(self):
        config = make(self)
        config.set_tactic_sources(
            1 << int(sources.EDGE_MASK_CONVOLUTIONS) | 1 << int(sources.JIT_CONVOLUTIONS)
        )
        return config
    tensorrt.Builder.create_builder_config = limited
"""
"""A `sitecustomize` that brings TensorRT in from a folder, before all else, and without cuBLAS and cuDNN."""


def environment_for(libraries: Path | None, folder: Path) -> dict[str, str]:
    """libraries: folder with TensorRT's module and libraries. folder: where the parts keep what they build."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if libraries is not None:
        custom = folder / "custom"
        custom.mkdir(exist_ok=True)
        (custom / "sitecustomize.py").write_text(PRELOAD.format(folder=str(libraries.resolve())))
        paths = [str(custom), str(libraries.resolve()), *paths]
    engines = {"ASYMFORMER_TEST_ENGINES": str(folder / "tests")}  # a second run of the tests builds none again
    return {**os.environ, **engines, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
