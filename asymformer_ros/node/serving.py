"""The model that the node serves, and how another takes its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import BackendError
from asymformer_ros.inference.ladder import Choice, Turn, choose_size
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.segmenter import Segmenter, with_groups
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.inference.upgrading import progress_of, settle
from asymformer_ros.models.sizes import read_size, size_name
from asymformer_ros.node.parameters import AUTO_SIZE, Settings


def serving_options(settings: Settings) -> ServingOptions:
    """What the node's parameters ask for; `input_size` auto is still the model's own size in them."""
    named = settings.input_size not in ("", AUTO_SIZE)
    return ServingOptions(
        backend=settings.backend,
        device=settings.device,
        label_set=settings.label_set,
        precision=settings.precision,
        precision_report=settings.precision_report,
        engine_cache=settings.engine_cache,
        workspace_mib=settings.workspace_mib,
        batch=len(settings.cameras),
        input_size=read_size(settings.input_size) if named else None,
    )


@dataclass(frozen=True)
class Opened:
    """A model that is ready to serve. choice: why at this input size, None where that was not to be chosen."""

    segmenter: Segmenter
    choice: Choice | None = None


def open_model(
    settings: Settings, context: BuildContext, before: Choice | None = None, turn: Turn = nullcontext
) -> Opened:
    """The model of the node's parameters, at a smaller size than `before` where that is given.

    turn: see `choose_size`. Raises AsymformerError; `context` cancels it.
    """
    options, choice = serving_options(settings), None
    if settings.input_size == AUTO_SIZE:
        choice = choose_size(settings.model, options, settings.target_rate, context, before, turn)
        options = replace(options, input_size=choice.asked)
    return Opened(with_groups(open_serving(settings.model, options, context), settings.label_groups), choice)


class Serving:
    """Holds the segmenter that serves; whoever uses it has it in hand, and it is replaced and closed between frames."""

    def __init__(self, opened: Opened) -> None:
        self._lock = threading.Lock()
        self.segmenter, self._choice = opened.segmenter, opened.choice
        self._can_step_down = True
        self._closed = False

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """The segmenter stays what it is until the end of this block."""
        with self._lock:
            yield

    @property
    def size_is_chosen(self) -> bool:
        """Whether the input size was chosen, and not given."""
        return self._choice is not None

    @property
    def can_step_down(self) -> bool:
        """Whether the model may serve at a smaller input size, which was not tried in vain."""
        return self._can_step_down and self._choice is not None and bool(self._choice.smaller)

    @property
    def why_no_smaller(self) -> str:
        """Why it cannot step down, in a sentence's part."""
        left = self._choice is not None and bool(self._choice.smaller)
        return "no smaller input size could take over" if left else "no smaller input size is left"

    def step_down(self, settings: Settings, context: BuildContext, announce: Callable[[Segmenter], None]) -> str:
        """As `replace`, at a smaller input size. Where that fails, it is not to be tried again with this model."""
        self._can_step_down = False
        return self._replace(open_model(settings, context, self._choice, self.in_hand), context, announce)

    def replace(self, settings: Settings, context: BuildContext, announce: Callable[[Segmenter], None]) -> str:
        """Open the model of the parameters anew, with the engine that is to serve it, and let it take over.

        The old one serves until then, and goes on where this raises AsymformerError. announce: told the new one before
        its first frame. Returns what serves now, for people.
        """
        return self._replace(open_model(settings, context, turn=self.in_hand), context, announce)

    def _replace(self, opened: Opened, context: BuildContext, announce: Callable[[Segmenter], None]) -> str:
        segmenter = opened.segmenter
        try:
            settle(segmenter.backend, context)
            with self._lock:
                if self._closed:
                    raise BackendError("the node has released its model meanwhile: nothing serves")
                announce(segmenter)
                self.segmenter, segmenter = segmenter, self.segmenter
                self._choice, self._can_step_down = opened.choice, True
        finally:
            segmenter.close()
        return self.description

    @property
    def description(self) -> str:
        """Model, classes, input size and backend."""
        card, classes = self.segmenter.backend.card, self.segmenter.label_set.name
        size = f"input {size_name(card.input_size)}, height x width"
        return f"model '{card.name}' ({classes}, {size}) on {self.segmenter.backend.name}"

    @property
    def facts(self) -> dict[str, str]:
        """Model, backend, input size and why, and how far the engine is where one is made, for /diagnostics."""
        backend = self.segmenter.backend
        facts = {"model": backend.card.name, "backend": backend.name, "input size": self._input_size}
        more = {"engine": progress_of(backend), "agreement": getattr(backend, "agreement", "")}
        return {**facts, **{key: value for key, value in more.items() if value}}

    @property
    def _input_size(self) -> str:
        return str(self._choice or size_name(self.segmenter.backend.card.input_size))

    def close(self) -> None:
        """Release the model."""
        with self._lock:
            self._closed = True
            self.segmenter.close()
