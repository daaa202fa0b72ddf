"""Where the frames of a camera to try things with come from: a recorded folder; and frames prepared ahead of need."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd, RgbdRecording

_FRAMES_AHEAD = 8
_CACHE_BYTES = 256 * 2**20  # a recording that decodes to less is decoded once
_BYTES_PER_PIXEL = 5  # rgb8 and 16 bit depth
_HOLE_PIXELS = 12  # edge of one hole in the depth image


class FrameSource(Protocol):
    """Frames by number, from 0."""

    @property
    def intrinsics(self) -> Intrinsics: ...

    def frame(self, index: int) -> RawRgbd | None:
        """The frame of this number; None after the last one."""


class RecordedSource:
    """A recorded folder, once or for ever; decoded once where all of it fits into 256 MiB."""

    def __init__(self, folder: Path, loop: bool) -> None:
        self.recording = RgbdRecording(folder)
        self.intrinsics = self.recording.intrinsics
        self._loop = loop
        pixels = self.intrinsics.width * self.intrinsics.height * len(self.recording)
        self._keep = pixels * _BYTES_PER_PIXEL <= _CACHE_BYTES
        self._decoded: dict[int, RawRgbd] = {}

    def frame(self, index: int) -> RawRgbd | None:
        if index >= len(self.recording) and not self._loop:
            return None
        index %= len(self.recording)
        raw = self._decoded.get(index) or self.recording.raw(index)
        if self._keep:
            self._decoded[index] = raw
        return raw


@dataclass(frozen=True)
class SensorNoise:
    """What a real sensor adds: grey-level noise (standard deviation) and holes (share of the depth image, 0..1)."""

    pixel_noise: float = 0.0
    depth_holes: float = 0.0

    def __post_init__(self) -> None:
        if self.pixel_noise < 0:
            raise ConfigurationError(f"pixel_noise must be at least 0 grey levels, got {self.pixel_noise}")
        if not 0 <= self.depth_holes <= 1:
            raise ConfigurationError(f"depth_holes must be a share between 0 and 1, got {self.depth_holes}")

    def apply(self, frame: RawRgbd, rng: np.random.Generator) -> RawRgbd:
        """A noisy copy; the frame itself where there is no noise."""
        rgb, depth = frame.rgb, frame.depth
        if self.pixel_noise:
            rgb = _add_noise(rgb, self.pixel_noise, rng)
        if self.depth_holes:
            height, width = depth.shape
            cells = rng.random((-(-height // _HOLE_PIXELS), -(-width // _HOLE_PIXELS))) < self.depth_holes
            holes = cells.repeat(_HOLE_PIXELS, axis=0).repeat(_HOLE_PIXELS, axis=1)[:height, :width]
            depth = np.where(holes, np.uint16(0), depth)
        return RawRgbd(rgb=rgb, depth=depth, labels=frame.labels)


def _add_noise(rgb: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = np.rint(rng.standard_normal(rgb.shape, dtype=np.float32) * strength).astype(np.int16)
    return cv2.add(rgb, noise, dtype=cv2.CV_8U)  # type: ignore[return-value]


class FramesAhead:
    """Prepares the frames of a source in a thread of its own, a few ahead: decoding never delays a publication."""

    def __init__(self, source: FrameSource, noise: SensorNoise, seed: int) -> None:
        self._ready: queue.Queue[RawRgbd | Exception | None] = queue.Queue(maxsize=_FRAMES_AHEAD)
        self._stop = threading.Event()
        self._work = (source, noise, np.random.default_rng(seed))
        self._thread = threading.Thread(target=self._prepare, name="frames-ahead", daemon=True)
        self._thread.start()

    def next(self) -> RawRgbd | None:
        """The next frame, or None after the last. Raises queue.Empty where it is not ready yet, and what reading
        it raised."""
        item = self._ready.get_nowait()
        if isinstance(item, Exception):
            raise item
        return item

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        while self.alive:  # it may be waiting for room in the queue
            self._drain()
            self._thread.join(timeout=0.05)

    def _drain(self) -> None:
        while not self._ready.empty():
            self._ready.get_nowait()

    def _prepare(self) -> None:
        source, noise, rng = self._work
        index = 0
        while not self._stop.is_set():
            try:
                frame = source.frame(index)
                item = frame and noise.apply(frame, rng)
            except Exception as error:  # it is raised again where the frame is asked for
                self._ready.put(error)
                return
            self._ready.put(item)
            if item is None:
                return
            index += 1
