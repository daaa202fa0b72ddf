"""The model that the node serves, and how another takes its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import BackendError
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.segmenter import Segmenter, with_groups
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.inference.upgrading import progress_of, settle
from asymformer_ros.node.parameters import Settings


def open_segmenter(settings: Settings, context: BuildContext) -> Segmenter:
    """The model of the node's parameters, ready to serve. Raises AsymformerError; `context` cancels it."""
    options = ServingOptions(
        backend=settings.backend,
        device=settings.device,
        label_set=settings.label_set,
        precision=settings.precision,
        precision_report=settings.precision_report,
        engine_cache=settings.engine_cache,
        workspace_mib=settings.workspace_mib,
        batch=len(settings.cameras),
    )
    return with_groups(open_serving(settings.model, options, context), settings.label_groups)


class Serving:
    """Holds the segmenter that serves; whoever uses it has it in hand, and it is replaced and closed between frames."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._lock = threading.Lock()
        self.segmenter = segmenter
        self._closed = False

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """The segmenter stays what it is until the end of this block."""
        with self._lock:
            yield

    def replace(self, settings: Settings, context: BuildContext, announce: Callable[[Segmenter], None]) -> str:
        """Open the model of the parameters anew, with the engine that is to serve it, and let it take over.

        The old one serves until then, and goes on where this raises AsymformerError. announce: told the new one before
        its first frame. Returns what serves now, for people.
        """
        segmenter = open_segmenter(settings, context)
        try:
            settle(segmenter.backend, context)
            with self._lock:
                if self._closed:
                    raise BackendError("the node has released its model meanwhile: nothing serves")
                announce(segmenter)
                self.segmenter, segmenter = segmenter, self.segmenter
        finally:
            segmenter.close()
        return self.description

    @property
    def description(self) -> str:
        """Model, classes, input size and backend."""
        card, (height, width) = self.segmenter.backend.card, self.segmenter.backend.card.input_size
        classes = self.segmenter.label_set.name
        return f"model '{card.name}' ({classes}, input {width}x{height}) on {self.segmenter.backend.name}"

    @property
    def facts(self) -> dict[str, str]:
        """Model, backend, and how far the engine is where one is made, for /diagnostics."""
        backend = self.segmenter.backend
        facts = {"model": backend.card.name, "backend": backend.name}
        more = {"engine": progress_of(backend), "agreement": getattr(backend, "agreement", "")}
        return {**facts, **{key: value for key, value in more.items() if value}}

    def close(self) -> None:
        """Release the model."""
        with self._lock:
            self._closed = True
            self.segmenter.close()
