"""Serves with one backend while a better one is made beside it, and again after the better one has failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import AsymformerError, BackendError
from asymformer_ros.inference.backend import InferenceBackend, Prediction
from asymformer_ros.models.card import ModelCard

FIRST_RETRY = 10.0
LONGEST_RETRY = 600.0


class Making:
    """What the maker of the better backend is given: where to tell how far it is, and when to give up."""

    def __init__(self) -> None:
        self.progress = ""
        self._cancelled = threading.Event()

    def tell(self, progress: str) -> None:
        """Say in a few words how far it is, for /diagnostics."""
        self.progress = progress

    def cancelled(self) -> bool:
        """Whether nobody wants the better backend any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the maker to give up."""
        self._cancelled.set()

    def wait(self, seconds: float) -> bool:
        """Sleep; returns whether it was cancelled meanwhile."""
        return self._cancelled.wait(seconds)


class UpgradingBackend:
    """Answers with `fallback` at once, and with what `make` returns as soon as that is there.

    The swap is between two images: none waits, none is lost. A better backend that fails is closed, said once, and its
    image is answered by the fallback; it is made again after 10 s, then 40 s, up to 10 minutes. One that cannot be made
    is said, and not tried again.
    """

    def __init__(
        self,
        fallback: InferenceBackend,
        make: Callable[[Making], InferenceBackend],
        log: Callable[[str], None],
        first_retry: float = FIRST_RETRY,
    ) -> None:
        self._fallback, self._make, self._log = fallback, make, log
        self._better: InferenceBackend | None = None
        self._serving = fallback
        self._retry = self._first_retry = first_retry
        self._making = Making()
        self._failed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def card(self) -> ModelCard:
        """See InferenceBackend."""
        return self._fallback.card

    @property
    def name(self) -> str:
        """Of the backend that gave the last answer."""
        return self._serving.name

    @property
    def progress(self) -> str:
        """How far the better backend is."""
        return self._making.progress

    def infer(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], *, with_confidence: bool = False) -> Prediction:
        """See InferenceBackend."""
        better = self._better
        if better is not None:
            try:
                prediction = better.infer(rgb, depth, with_confidence=with_confidence)
                self._serving = better
                return prediction
            except BackendError as error:
                self._give_up(better, error)
        self._serving = self._fallback
        return self._fallback.infer(rgb, depth, with_confidence=with_confidence)

    def close(self) -> None:
        """See InferenceBackend. Ends a build that is under way."""
        self._making.cancel()
        self._failed.set()
        self._thread.join()
        if self._better is not None:
            self._better.close()
        self._fallback.close()

    def _give_up(self, better: InferenceBackend, error: BackendError) -> None:
        self._better = None
        self._log(f"{error}: {self._fallback.name} serves, the next try is in {self._retry:.0f} s")
        better.close()
        self._failed.set()

    def _run(self) -> None:
        while not self._making.cancelled():
            self._failed.clear()
            try:
                better = self._make(self._making)
            except Exception as error:  # a defect must not end the thread without a word
                if not self._making.cancelled():
                    reason = str(error) if isinstance(error, AsymformerError) else f"{type(error).__name__}: {error}"
                    self._making.tell(f"none: {reason}")
                    self._log(f"{reason}: {self._fallback.name} goes on serving")
                return
            self._making.tell(f"{better.name} serves")
            self._better, started = better, monotonic()
            self._failed.wait()
            if monotonic() - started > LONGEST_RETRY:  # it has served well: this is another failure
                self._retry = self._first_retry
            self._making.tell(f"failed, the next try is in {self._retry:.0f} s")
            self._making.wait(self._retry)
            self._retry = min(4 * self._retry, LONGEST_RETRY)


def progress_of(backend: InferenceBackend) -> str:
    """How far the better backend is that this one is to be upgraded to; "" where there is none in the making."""
    return backend.progress if isinstance(backend, UpgradingBackend) else ""
