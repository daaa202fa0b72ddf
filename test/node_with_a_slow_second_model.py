"""The segmentation node with a model that takes its time the second time that it is opened, until it is cancelled."""

from __future__ import annotations

import sys

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.node import segmentation_node, serving

opened: list[str] = []


def open_serving(name: str, options: ServingOptions, context: BuildContext) -> InferenceBackend:
    opened.append(name)
    if len(opened) > 1:
        sys.stdout.write("loading\n")
        while not context.wait(0.1):
            pass
        context.check()
    return open_backend("onnxruntime", name)


serving.open_serving = open_serving  # type: ignore[assignment]
sys.exit(segmentation_node.main())
