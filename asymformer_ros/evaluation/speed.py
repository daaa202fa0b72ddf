"""How long a model takes: the network alone, and from a camera's frame to its labels; on an idle and a busy machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import numpy as np

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.segmenter import Segmenter

WARM_UP = 5
"""Frames before anything counts."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of some frames: how many, the median, and those that 95 % and 99 % of the frames stay below."""

    frames: int
    median: float
    p95: float
    p99: float

    @staticmethod
    def of(milliseconds: Sequence[float]) -> Times:
        """At least one."""
        median, p95, p99 = (float(one) for one in np.percentile(milliseconds, (50, 95, 99)))
        return Times(len(milliseconds), median, p95, p99)

    @property
    def per_second(self) -> float:
        """Frames a second at the median, one after the other."""
        return 1e3 / self.median


@dataclass(frozen=True)
class Speed:
    """Times of one backend.

    network: from a pair of the input's size in main memory to its labels there, so that the device has ended its work:
    normalisation, network, choice of the class. whole: from a camera's frame to labels of its size: resizing, too.
    """

    network: Times
    whole: Times


def measure(backend: InferenceBackend, frames: Sequence[RgbdFrame], count: int) -> Speed:
    """Time `count` frames, taken from `frames` in turn, after WARM_UP others.

    Raises BackendError, and ConfigurationError for no frames.
    """
    if count < 1 or not frames:
        raise ConfigurationError(f"{count} frames of {len(frames)} cannot be timed: expected 1 or more")
    segmenter, network, whole = Segmenter(backend), [], []
    for at, frame in enumerate(islice(cycle(frames), count + WARM_UP)):
        rgb, depth = resize_frame(frame, backend.card.input_size)
        start = perf_counter()
        backend.infer(rgb, depth)
        middle = perf_counter()
        segmenter.segment(frame)
        end = perf_counter()
        if at >= WARM_UP:
            network.append((middle - start) * 1e3)
            whole.append((end - middle) * 1e3)
    return Speed(Times.of(network), Times.of(whole))


class PeakMemory:
    """The most memory that this process has had at once since this was made. root: of /proc."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._status = root / "proc/self/status"
        try:
            (root / "proc/self/clear_refs").write_text("5")
            self._known = True
        except OSError:  # not everywhere allowed
            self._known = False

    @property
    def bytes(self) -> int | None:
        """None where the system does not tell."""
        if not self._known:
            return None
        lines = self._status.read_text().splitlines()
        peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        return peaks[0] if peaks else None
