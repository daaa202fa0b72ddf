"""The segmentation node on a machine that seems to have a GPU: the engine is really built, PyTorch stands in for it.

It fails with its sixth image, as a lost device would, and is not made again for a while.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from asymformer_ros.errors import BackendError
from asymformer_ros.inference import libraries, selection, tensorrt
from asymformer_ros.inference.backend import InferenceBackend, Prediction
from asymformer_ros.node.segmentation_node import main


class StandIn:
    """Answers five images."""

    name = "stand-in engine"

    def __init__(self, served: InferenceBackend) -> None:
        self.card, self._served, self._left = served.card, served, 5

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        self._left -= 1
        if self._left < 0:
            raise BackendError("device lost")
        return self._served.infer(rgb, depth, with_confidence=with_confidence)

    def close(self) -> None:
        self._served.close()


selection.engine_obstacle = lambda gpu: ""
tensorrt.open_engine = lambda *_: StandIn(libraries.open_backend("torch", "untrained", "cpu"))
sys.exit(main())
