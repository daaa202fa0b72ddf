"""`input_size: auto`: the largest input size of a model that keeps a rate on this machine, found by running it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from math import inf, prod
from time import perf_counter

import numpy as np

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.inference.backend import InferenceBackend, plain_frame
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.catalogue import model_files
from asymformer_ros.models.sizes import size_name
from asymformer_ros.optional import installed

_log = logging.getLogger(__name__)

SHARE = 0.8
"""Of the time between two labels that the network may take: conversion, publishing and other processes get the rest."""

_RUNS = 5

Size = tuple[int, int]
Turn = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Choice:
    """An input size, (height, width), and why.

    own: the model's own size. sizes: those among which it was chosen, largest first. seconds: what one run took, of
    all cameras' frames, by the sizes that were run. rate: labels per second that are wanted.
    """

    size: Size
    own: Size
    sizes: tuple[Size, ...]
    seconds: Mapping[Size, float]
    rate: float

    @property
    def keeps(self) -> bool:
        """Whether the size keeps the rate."""
        return self.seconds[self.size] <= SHARE / self.rate

    @property
    def smaller(self) -> tuple[Size, ...]:
        """The sizes below the chosen one."""
        return self.sizes[self.sizes.index(self.size) + 1 :]

    @property
    def asked(self) -> Size | None:
        """What `ServingOptions.input_size` has to be for it."""
        return _asked(self.size, self.own)

    def __str__(self) -> str:
        sizes = ", ".join(map(size_name, self.sizes))
        took = ", ".join(f"{size_name(size)} in {1e3 * time:.1f} ms" for size, time in self.seconds.items())
        leave = f"{self.rate:g} labels a second leave it {1e3 * SHARE / self.rate:.1f} ms"
        return (
            f"{size_name(self.size)} (height x width; of {sizes}): the network takes {took}; {leave}, "
            f"{'which it keeps' if self.keeps else 'which none keeps'}"
        )


def next_size(sizes: Sequence[Size], seconds: Mapping[Size, float], limit: float) -> Size | None:
    """The size to run next, by bisection: None where the largest that takes at most `limit` seconds is known.

    seconds: of the sizes that were run. A larger size is taken to need more time than a smaller one.
    """
    fast = [prod(size) for size, time in seconds.items() if time <= limit]
    slow = [prod(size) for size, time in seconds.items() if time > limit]
    between = [size for size in sizes if max(fast, default=0) < prod(size) < min(slow, default=inf)]
    return between[len(between) // 2] if between else None


def best_size(seconds: Mapping[Size, float], limit: float) -> Size:
    """Of the sizes that were run, the largest that takes at most `limit` seconds, or else the smallest."""
    fast = [size for size, time in seconds.items() if time <= limit]
    return max(fast, key=prod) if fast else min(seconds, key=prod)


def choose_size(
    name: str,
    options: ServingOptions,
    rate: float,
    context: BuildContext,
    before: Choice | None = None,
    turn: Turn = nullcontext,
) -> Choice:
    """The largest input size of a model that keeps `rate` labels per second of each camera, else the smallest.

    before: what was chosen and is too slow: the sizes below it are run; otherwise the model's own size first, and by
    its card the others. turn: entered around each run of the network, so that nothing else runs beside it. What was
    found is logged. Raises ConfigurationError without a rate, else as `open_serving`.
    """
    if rate <= 0:
        raise ConfigurationError(
            f"input_size is 'auto' but target_rate is {rate:g}: set target_rate to the labels per second that are "
            "wanted of each camera, or input_size to HEIGHTxWIDTH"
        )
    limit, seconds = SHARE / rate, dict[Size, float]()
    if before is None:
        with closing(open_serving(name, replace(options, wait=True), context)) as backend:
            own = backend.card.input_size
            sizes = backend.card.sizes if _has_other_sizes(name) else (own,)
            seconds[own] = _seconds(backend, options.batch, context, turn)
    else:
        own, sizes = before.own, before.smaller
    while (size := next_size(sizes, seconds, limit)) is not None:
        context.report(f"trying input size {size_name(size)}")
        asked = replace(options, wait=True, input_size=_asked(size, own))
        with closing(open_serving(name, asked, context)) as backend:
            seconds[size] = _seconds(backend, options.batch, context, turn)
    choice = Choice(best_size(seconds, limit), own, sizes, seconds, rate)
    _log.log(logging.INFO if choice.keeps else logging.WARNING, "input size %s", choice)
    return choice


def _asked(size: Size, own: Size) -> Size | None:
    """A model's own size is not asked for: its ONNX file, if it has one, serves there."""
    return None if size == own else size


def _has_other_sizes(name: str) -> bool:
    """An ONNX file has its own, and what makes others of a bundle is PyTorch."""
    return bool(model_files(name).bundle) and installed("torch")


def _seconds(backend: InferenceBackend, batch: int, context: BuildContext, turn: Turn) -> float:
    """Median of a few runs of so many frames; a backend has been run once when it is opened."""
    image, metres = plain_frame(backend.card.input_size)
    rgb, depth, times = np.stack([image] * batch), np.stack([metres] * batch), []
    for _ in range(_RUNS):
        context.check()
        with turn():
            start = perf_counter()
            backend.infer(rgb, depth)
            times.append(perf_counter() - start)
    return float(np.median(times))
