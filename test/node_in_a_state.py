"""The segmentation node, which stays in the state that STATE names for as long as a test needs.

"importing" takes a second longer. "loading" opens a model in a library that cannot be asked to stop, "configuring" one
that can. "building" makes an engine with TensorRT-RTX, in real child processes, as if there were a GPU. "deactivating"
takes two seconds for a frame.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.node.start import start

STATE = os.environ["STATE"]


def _load(name: str, options: object, context: BuildContext) -> None:
    sys.stdout.write("loading\n")
    while STATE == "loading" or not context.wait(0.1):
        time.sleep(0.1)
    context.check()


def _stay() -> None:
    from asymformer_ros.engine.driver import GpuInfo
    from asymformer_ros.inference import selection
    from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend
    from asymformer_ros.node import process, serving

    if STATE in ("loading", "configuring"):
        serving.open_serving = _load  # type: ignore[assignment]
        process.PATIENCE = 1.0
    elif STATE == "building":
        selection.engine_obstacle = lambda gpu: ""
        selection.probe_gpu = lambda: GpuInfo("none", (7, 5), (12, 6), multiprocessors=68, memory=11 << 30)
        selection._start_runtime = lambda gpu: None
    elif STATE == "deactivating":
        infer = OnnxRuntimeBackend.infer

        def slowly(*arguments: Any, **named: Any) -> Any:
            sys.stdout.write("has a frame in hand\n")
            time.sleep(2)
            return infer(*arguments, **named)

        OnnxRuntimeBackend.infer = slowly  # type: ignore[method-assign]


def _import_late() -> None:
    import_module = importlib.import_module

    def late(name: str, package: str | None = None) -> Any:
        if name == "asymformer_ros.node.segmentation_node":
            sys.stdout.write("starts\n")
            time.sleep(1.0)
        return import_module(name, package)

    importlib.import_module = late  # type: ignore[assignment]


if STATE == "importing":
    _import_late()
else:
    _stay()
sys.exit(start("segmentation_node"))
