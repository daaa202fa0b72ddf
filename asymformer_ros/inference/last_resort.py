"""Serves on a GPU, and on the CPU after the GPU has failed for good."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import AsymformerError, BackendError
from asymformer_ros.frames.depth import Depth
from asymformer_ros.inference.backend import InferenceBackend, Prediction
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.models.card import ModelCard

_log = logging.getLogger(__name__)

STICKY = 3
"""Failures one after the other after which a GPU is given up: after an illegal address or an ECC error its context is
dead for this process, for TensorRT and PyTorch alike, while being out of memory for a moment passes."""


class GpuLostError(BackendError):
    """Nothing can serve any more in this process: it should end, so that whoever watches it starts it again."""


class LastResortBackend:
    """Answers with a backend on a GPU until that has failed STICKY times in a row, and from then on with another one.

    Without another one it raises GpuLostError from then on.
    """

    def __init__(self, backend: InferenceBackend, open_other: Callable[[], InferenceBackend] | None) -> None:
        self._backend, self._open_other = backend, open_other
        self._failures = 0
        self._resorted = False

    @property
    def card(self) -> ModelCard:
        """See InferenceBackend."""
        return self._backend.card

    @property
    def model_sha256(self) -> str:
        """See InferenceBackend."""
        return self._backend.model_sha256

    @property
    def name(self) -> str:
        """See InferenceBackend."""
        return self._backend.name

    @property
    def agreement(self) -> str:
        """How its labels compare with FP32's, for people; "" where that is not known."""
        return getattr(self._backend, "agreement", "")

    def infer(
        self,
        rgb: NDArray[np.uint8],
        depth: Depth,
        *,
        with_confidence: bool = False,
        smoothing: Sequence[TemporalSmoothing] = (),
    ) -> Prediction:
        """See InferenceBackend."""
        try:
            prediction = self._backend.infer(rgb, depth, with_confidence=with_confidence, smoothing=smoothing)
        except BackendError as error:
            self._failures += 1
            if self._resorted or self._failures < STICKY:
                raise
            if self._open_other is None:
                raise GpuLostError(
                    f"{error}: it has failed {self._failures} times in a row, and nothing else may serve: start this "
                    "process again; with the backend and device `auto` the CPU would serve now"
                ) from error
            self._resort(error, self._open_other())
            return self._backend.infer(rgb, depth, with_confidence=with_confidence, smoothing=smoothing)
        self._failures = 0
        return prediction

    def close(self) -> None:
        """See InferenceBackend."""
        self._backend.close()

    def _resort(self, error: BackendError, other: InferenceBackend) -> None:
        self._resorted = True
        lost, self._backend = self._backend, other
        _log.warning(
            "%s: it has failed %d times in a row, %s serves; start this process again to use the GPU",
            error,
            self._failures,
            self._backend.name,
        )
        try:
            lost.close()
        except (AsymformerError, RuntimeError) as left:  # PyTorch cannot even free memory on a GPU that is lost
            _log.info("%s could not be closed: %s", lost.name, left)
