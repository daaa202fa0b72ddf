"""How PyTorch runs a network on a GPU: buffers that keep their place, and a CUDA graph for each shape of the input.

What only CUDA can do stands behind a protocol, `Gpu`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.inference.backend import Prediction
from asymformer_ros.optional import importing

with importing("torch", "the torch backend"):
    import torch
    from torch import Tensor
    from torch.nn import functional

_log = logging.getLogger(__name__)

_WARM_UP = 3
"""Runs before a recording: in the first ones libraries load, choose kernels and allocate, which cannot be recorded."""

Network = Callable[[Tensor, Tensor], Tensor]
"""rgb (N, h, w, 3) and depth (N, h, w, 2), both uint8, to class scores (N, C, h/4, w/4)."""


class Gpu(Protocol):
    """What CUDA has and a CPU has not. Used by one thread at a time."""

    def pinned(self, shape: Sequence[int]) -> Tensor:
        """Host memory, uint8, that copies go to and from without a stop on the way."""

    def aside(self, work: Callable[[], object]) -> None:
        """Do `work` on a stream of its own, which the current one then waits for."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        """Record what `work` does, without doing it: its result's place, and what fills that anew.

        Raises RuntimeError where it cannot be recorded.
        """

    def synchronise(self) -> None:
        """Wait until everything that was asked for is done."""


class Cuda:
    """A `Gpu`: the current CUDA device."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()  # one for all recordings, which never run at the same time

    def pinned(self, shape: Sequence[int]) -> Tensor:
        """See Gpu."""
        return torch.empty(tuple(shape), dtype=torch.uint8, pin_memory=True)

    def aside(self, work: Callable[[], object]) -> None:
        """See Gpu."""
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            work()
        current.wait_stream(side)

    def record(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        """See Gpu. What other threads do with CUDA meanwhile, an engine's verification for one, disturbs nothing."""
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.stream(torch.cuda.current_stream()),  # a recording that fails does not go back to it by itself
            torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
        ):
            result = work()
        return result, graph.replay

    def synchronise(self) -> None:
        """See Gpu."""
        torch.cuda.current_stream().synchronize()


@dataclass(frozen=True)
class _Recording:
    """A run on images of one shape: where they lie on the GPU, its class scores' place, and what fills that anew."""

    images: tuple[Tensor, Tensor]
    logits: Tensor
    replay: Callable[[], None]


class GpuNetwork:
    """A network on a GPU, recorded once for each shape of its input. Used by one thread at a time, in inference mode.

    records: False from the first recording that failed on: each step is launched by itself.
    """

    def __init__(self, network: Network, device: torch.device, gpu: Gpu) -> None:
        self._network, self._device, self._gpu = network, device, gpu
        self._hosts: dict[tuple[int, ...], Tensor] = {}
        self._recordings: dict[tuple[int, ...], _Recording] = {}
        self.records = True

    def logits(self, rgb: NDArray[np.uint8], depth: NDArray[np.uint8]) -> Tensor:
        """Class scores (N, C, h/4, w/4) float32 on the GPU, valid until the next call.

        rgb (N, h, w, 3) and depth (N, h, w, 2), as `depth_bytes` packs it. Raises RuntimeError, PyTorch's own.
        """
        self._gpu.synchronise()  # the images of a call before may still be on their way
        hosts = [self._host(image.shape) for image in (rgb, depth)]
        for host, image in zip(hosts, (rgb, depth), strict=True):
            np.copyto(host.numpy(), image)
        recording = self._recordings.get(rgb.shape)
        if recording is None:
            rgb_there, depth_there = (host.to(self._device, non_blocking=True, copy=True) for host in hosts)
            images = rgb_there, depth_there
            return self._run(images) if not self.records else self._first_run(images)
        for host, place in zip(hosts, recording.images, strict=True):
            place.copy_(host, non_blocking=True)
        recording.replay()
        return recording.logits

    def classify(self, logits: Tensor, temperature: float, *, with_confidence: bool) -> Prediction:
        """Labels of class scores on the GPU, and confidence where it is asked for."""
        made = labels_and_confidence(logits, temperature, with_confidence=with_confidence)
        host = self._host(made.shape)
        host.copy_(made, non_blocking=True)
        self._gpu.synchronise()
        labels, *confidence = host.numpy().copy()
        return Prediction(labels, confidence[0] if confidence else None)

    def _host(self, shape: tuple[int, ...]) -> Tensor:
        if shape not in self._hosts:
            self._hosts[shape] = self._gpu.pinned(shape)
        return self._hosts[shape]

    def _first_run(self, images: tuple[Tensor, Tensor]) -> Tensor:
        """Of a shape: it is recorded where that is possible. The images' places are those of the recording."""
        self._gpu.aside(lambda: [self._run(images) for _ in range(_WARM_UP)])
        try:
            logits, replay = self._gpu.record(lambda: self._run(images))
        except RuntimeError as error:
            self.records = False
            _log.warning("no CUDA graph, each step is launched by itself: %s", str(error).splitlines()[0])
            return self._run(images)
        self._recordings[tuple(images[0].shape)] = _Recording(images, logits, replay)
        replay()
        return logits

    def _run(self, images: tuple[Tensor, Tensor]) -> Tensor:
        return self._network(*images).float()


def labels_and_confidence(logits: Tensor, temperature: float, *, with_confidence: bool) -> Tensor:
    """What `classify_all` of `processing.py` makes of class scores (N, C, h, w) float32, where they lie.

    Returns (1, N, 4h, 4w) uint8, the labels, or (2, N, 4h, 4w), labels and confidence.
    """
    scores = functional.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    best, index = scores.max(dim=1)
    labels = index.to(torch.uint8)[None]
    if not with_confidence:
        return labels
    total = scores.sub_(best[:, None]).mul_(1 / temperature).exp_().sum(dim=1)
    return torch.cat((labels, (255 / total).round_().to(torch.uint8)[None]))
