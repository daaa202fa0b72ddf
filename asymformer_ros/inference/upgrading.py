"""Serves with one backend while a better one is made beside it, and again after the better one has failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import AsymformerError, BackendError
from asymformer_ros.frames.depth import Depth
from asymformer_ros.inference.backend import InferenceBackend, Prediction
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.models.card import ModelCard

_log = logging.getLogger(__name__)

FIRST_RETRY = 10.0
LONGEST_RETRY = 600.0
KEEP = 300.0


class UpgradingBackend:
    """Answers with a fallback at once, and with what `make` returns as soon as that is there.

    The swap is between two images: none waits, none is lost. A better backend that fails is closed, said once, and its
    image is answered by the fallback; it is made again after 10 s, then 40 s, up to 10 minutes. One that cannot be made
    is said, and not tried again. A fallback that was not needed for KEEP seconds is closed, for it holds much memory,
    and opened again when it is needed: the images of those seconds come late.
    """

    def __init__(
        self,
        open_fallback: Callable[[], InferenceBackend],
        make: Callable[[BuildContext], InferenceBackend],
        first_retry: float = FIRST_RETRY,
        keep: float = KEEP,
        awaited: bool = True,
    ) -> None:
        """awaited: whether `settle` waits for the better one, which may need frames.

        Raises what `open_fallback` raises.
        """
        self._awaited = awaited
        self._open_fallback, self._make, self._keep = open_fallback, make, keep
        fallback = open_fallback()
        self.card: ModelCard = fallback.card
        self.model_sha256 = fallback.model_sha256
        self._fallback: InferenceBackend | None = fallback
        self._fallback_name, self._fallback_used = fallback.name, monotonic()
        self._better: InferenceBackend | None = None
        self._serving = fallback.name
        self._retry = self._first_retry = first_retry
        self._context = BuildContext()
        self._failed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Of the backend that gave the last answer."""
        return self._serving

    @property
    def progress(self) -> str:
        """How far the better backend is."""
        return self._context.progress

    @property
    def settled(self) -> bool:
        """Whether the better backend serves, or will not."""
        return not self._awaited or self._better is not None or not self._thread.is_alive()

    @property
    def agreement(self) -> str:
        """How the labels of what serves compare with FP32's; "" where that is not known."""
        return getattr(self._better or self._fallback, "agreement", "")

    def infer(
        self,
        rgb: NDArray[np.uint8],
        depth: Depth,
        *,
        with_confidence: bool = False,
        smoothing: Sequence[TemporalSmoothing] = (),
    ) -> Prediction:
        """See InferenceBackend."""
        better = self._better
        if better is not None:
            try:
                prediction = better.infer(rgb, depth, with_confidence=with_confidence, smoothing=smoothing)
                self._serving = better.name
                self._drop_fallback()
                return prediction
            except BackendError as error:
                self._give_up(better, error)
        fallback = self._use_fallback()
        prediction = fallback.infer(rgb, depth, with_confidence=with_confidence, smoothing=smoothing)
        self._serving = fallback.name
        return prediction

    def close(self) -> None:
        """See InferenceBackend. Ends a build that is under way."""
        self._context.cancel()
        self._failed.set()
        self._thread.join()
        for backend in (self._better, self._fallback):
            if backend is not None:
                backend.close()

    def _use_fallback(self) -> InferenceBackend:
        self._fallback_used = monotonic()
        if self._fallback is None:
            _log.info("opening %s again", self._fallback_name)
            self._fallback = self._open_fallback()
        return self._fallback

    def _drop_fallback(self) -> None:
        fallback = self._fallback
        if fallback is not None and monotonic() - self._fallback_used > self._keep:
            self._fallback = None
            fallback.close()
            _log.info("%s was not needed for %.0f s: its memory is free", fallback.name, self._keep)

    def _give_up(self, better: InferenceBackend, error: BackendError) -> None:
        self._better = None
        _log.warning("%s: %s serves, the next try is in %.0f s", error, self._fallback_name, self._retry)
        better.close()
        self._failed.set()

    def _run(self) -> None:
        context = self._context
        while True:
            self._failed.clear()
            if context.cancelled:  # after the clear: `close` cancels first, and then says that it has failed
                return
            try:
                better = self._make(context)
            except Exception as error:  # a defect must not end the thread without a word
                if not context.cancelled:
                    reason = str(error) if isinstance(error, AsymformerError) else f"{type(error).__name__}: {error}"
                    context.report(f"none: {reason}")
                    _log.warning("%s: %s goes on serving", reason, self._fallback_name)
                return
            context.report(f"{better.name} serves")
            self._better, started = better, monotonic()
            self._failed.wait()
            if monotonic() - started > LONGEST_RETRY:  # it has served well: this is another failure
                self._retry = self._first_retry
            context.report(f"failed, the next try is in {self._retry:.0f} s")
            context.wait(self._retry)
            self._retry = min(4 * self._retry, LONGEST_RETRY)


def progress_of(backend: InferenceBackend) -> str:
    """How far the better backend is that this one is to be upgraded to; "" where there is none in the making."""
    return backend.progress if isinstance(backend, UpgradingBackend) else ""


def settle(backend: InferenceBackend, context: BuildContext) -> None:
    """Wait until the better backend of this one serves, or will not. Raises BuildEndedError where it is cancelled."""
    while isinstance(backend, UpgradingBackend) and not backend.settled:
        context.wait(0.1)
        context.check()
