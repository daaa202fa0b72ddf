"""A better backend is made beside the one that serves, swapped in, and given up where it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import BackendError
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.upgrading import UpgradingBackend, settle
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION

CARD = ModelCard("one", label_set("nyuv2_13"), PUBLISHED_NORMALIZATION, (32, 32))
RGB, DEPTH = np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.float32)


class ConstantBackend:
    """Answers with one label; a fault (a lost device, say) can be put into it."""

    def __init__(self, name: str, label: int) -> None:
        self.name, self.card, self.label = name, CARD, label
        self.model_sha256 = "of both"
        self.fault = ""
        self.closed = False

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        assert not self.closed
        if self.fault:
            raise BackendError(self.fault)
        return Prediction(np.full(depth.shape, self.label, np.uint8), None)

    def close(self) -> None:
        self.closed = True


class Workshop:
    """Makes better backends one by one, each when the test says so."""

    def __init__(self) -> None:
        self.made: list[ConstantBackend] = []
        self.orders = threading.Semaphore(0)
        self.ready = threading.Semaphore(0)

    def make(self, context: BuildContext) -> ConstantBackend:
        context.report("building 1/2")
        while not self.orders.acquire(timeout=0.01):
            context.check()
        self.made.append(ConstantBackend(f"engine {len(self.made)}", 1))
        return self.made[-1]


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


def label_of(backend: UpgradingBackend) -> int:
    return int(backend.infer(RGB, DEPTH).labels[0, 0])


def wait(condition: Callable[[], bool]) -> None:
    end = threading.Event()
    for _ in range(1000):
        if condition():
            return
        end.wait(0.01)
    raise AssertionError("waited in vain")


def test_the_fallback_serves_until_the_better_one_is_there(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    fallback = ConstantBackend("torch", 0)
    backend = UpgradingBackend(lambda: fallback, workshop.make)
    wait(lambda: backend.progress == "building 1/2")
    assert (label_of(backend), backend.name) == (0, "torch")
    workshop.orders.release()
    wait(lambda: label_of(backend) == 1)
    assert (backend.name, backend.progress) == ("engine 0", "engine 0 serves")
    backend.close()
    assert fallback.closed
    assert workshop.made[0].closed
    assert caplog.messages == []


def test_a_better_one_that_fails_costs_no_image_is_said_once_and_made_again(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    backend = UpgradingBackend(lambda: ConstantBackend("torch", 0), workshop.make, first_retry=0.05)
    workshop.orders.release()
    wait(lambda: label_of(backend) == 1)
    workshop.made[0].fault = "device lost"
    assert [label_of(backend) for _ in range(20)] == [0] * 20
    assert (backend.name, workshop.made[0].closed) == ("torch", True)
    assert caplog.messages == ["device lost: torch serves, the next try is in 0 s"]
    workshop.orders.release()
    wait(lambda: label_of(backend) == 1)
    assert backend.name == "engine 1"
    backend.close()


def test_one_that_cannot_be_made_is_said_and_the_fallback_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def make(context: BuildContext) -> ConstantBackend:
        raise BackendError("no engine can be trusted")

    backend = UpgradingBackend(lambda: ConstantBackend("torch", 0), make)
    wait(lambda: bool(caplog.messages))
    assert caplog.messages == ["no engine can be trusted: torch goes on serving"]
    assert backend.progress == "none: no engine can be trusted"
    assert label_of(backend) == 0
    backend.close()


def test_settling_waits_until_the_better_one_serves_or_will_not(workshop: Workshop) -> None:
    backend = UpgradingBackend(lambda: ConstantBackend("fallback", 0), workshop.make)
    assert not backend.settled
    workshop.orders.release()
    settle(backend, BuildContext())
    assert backend.infer(RGB, DEPTH).labels[0, 0] == 1
    backend.close()

    def refuse(context: BuildContext) -> ConstantBackend:
        raise BackendError("no memory")

    without = UpgradingBackend(lambda: ConstantBackend("fallback", 0), refuse)
    settle(without, BuildContext())
    assert without.infer(RGB, DEPTH).labels[0, 0] == 0
    without.close()
    settle(ConstantBackend("plain", 0), BuildContext())


def test_settling_can_be_cancelled(workshop: Workshop) -> None:
    backend = UpgradingBackend(lambda: ConstantBackend("fallback", 0), workshop.make)
    context = BuildContext()
    context.cancel()
    with pytest.raises(BackendError, match="cancelled"):
        settle(backend, context)
    backend.close()


def test_closing_ends_a_build_that_is_under_way_without_a_word(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    fallback = ConstantBackend("torch", 0)
    backend = UpgradingBackend(lambda: fallback, workshop.make)
    wait(lambda: backend.progress == "building 1/2")
    backend.close()
    assert fallback.closed
    assert caplog.messages == []


def test_a_fallback_that_is_not_needed_is_closed_and_opened_again_when_it_is(workshop: Workshop) -> None:
    opened: list[ConstantBackend] = []

    def open_fallback() -> ConstantBackend:
        opened.append(ConstantBackend("torch", 0))
        return opened[-1]

    backend = UpgradingBackend(open_fallback, workshop.make, keep=0.1)
    assert label_of(backend) == 0
    workshop.orders.release()
    wait(lambda: label_of(backend) == 1)
    wait(lambda: label_of(backend) == 1 and opened[0].closed)
    assert len(opened) == 1
    workshop.made[0].fault = "device lost"
    assert (label_of(backend), backend.name, len(opened)) == (0, "torch", 2)
    backend.close()
    assert opened[1].closed


def test_a_close_that_comes_just_before_the_thread_looks_is_not_overheard(workshop: Workshop) -> None:
    """The thread that makes engines is held where it has looked for a close, and not yet begun to wait."""
    backend = UpgradingBackend(lambda: ConstantBackend("torch", 0), workshop.make, first_retry=0.01)
    workshop.orders.release()
    wait(lambda: label_of(backend) == 1)
    workshop.orders.release()  # the next one is there at once, as from a cache: nobody asks for a close meanwhile
    closing, held = threading.Event(), threading.Event()
    clear = backend._failed.clear

    def clear_late() -> None:
        held.set()
        closing.wait(5)
        clear()

    backend._failed.clear = clear_late  # type: ignore[method-assign]
    workshop.made[0].fault = "device lost"
    assert label_of(backend) == 0
    assert held.wait(5)
    closer = threading.Thread(target=backend.close, daemon=True)
    closer.start()
    wait(backend._failed.is_set)
    closing.set()
    closer.join(5)
    assert not closer.is_alive()


def test_a_fallback_that_fails_too_is_an_error(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    fallback = ConstantBackend("torch", 0)
    backend = UpgradingBackend(lambda: fallback, workshop.make)
    fallback.fault = "out of memory"
    with pytest.raises(BackendError, match="out of memory"):
        label_of(backend)
    backend.close()
