"""The published multi-scale evaluation: class scores of several sizes, and of the mirrored frame, summed up."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import BackendError
from asymformer_ros.frames.depth import Depth
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.segmentation import Segmentation, StageTimes
from asymformer_ros.inference.torch import TorchBackend
from asymformer_ros.models.sizes import nearest_edge
from asymformer_ros.optional import importing

with importing("torch", "evaluation at several scales"):
    import torch
    from torch.nn import functional

SCALES = (1.0, 1.2, 1.4)
"""Of the published evaluation: 480x640, 576x768 and 672x896 for a network of 480x640."""


class MultiScaleSegmenter:
    """Answers like a Segmenter, with PyTorch, for evaluation: several times slower.

    The network runs at its input size times each of the scales, to the nearest multiple of 32; its scores, at the size
    that it ran at, are brought to the frame's (bilinear, corners aligned) and summed. flip: the mirrored frame counts,
    too. The confidence is the softmax maximum of the mean scores.
    """

    def __init__(self, backend: TorchBackend, scales: tuple[float, ...] = SCALES, *, flip: bool = False) -> None:
        self.backend, self.flip = backend, flip
        self.sizes = [_scaled(backend.card.input_size, scale) for scale in scales]

    def segment(self, frame: RgbdFrame, *, with_confidence: bool = False) -> Segmentation:
        """See Segmenter. Raises BackendError."""
        start = perf_counter()
        card = self.backend.card
        try:
            with torch.inference_mode():
                mean = self._mean(frame)
                best, labels = mean.div_(card.temperature).softmax(dim=0).max(dim=0)
        except RuntimeError as error:
            raise BackendError(f"{self.backend.name} failed: {str(error).splitlines()[0]}") from error
        confidence = best.mul(255).round().to(torch.uint8).cpu().numpy() if with_confidence else None
        times = StageTimes(0.0, (perf_counter() - start) * 1e3, 0.0)
        return Segmentation(labels.to(torch.uint8).cpu().numpy(), confidence, frame, card.label_set, times)

    def _mean(self, frame: RgbdFrame) -> torch.Tensor:
        views = self._views(frame)
        total, count = next(views), 1
        for view in views:  # all of them at once take 50 MB each
            total += view
            count += 1
        return total.div_(count)

    def _views(self, frame: RgbdFrame) -> Iterator[torch.Tensor]:
        """(classes, H, W) float32 scores of each size, and of each mirrored."""
        for size in self.sizes:
            rgb, depth = resize_frame(frame, size)
            yield self._scores(rgb, depth, frame.size)
            if self.flip:
                mirrored = np.ascontiguousarray(rgb[:, ::-1]), np.ascontiguousarray(depth[:, ::-1])
                yield self._scores(*mirrored, frame.size).flip(-1)

    def _scores(self, rgb: NDArray[np.uint8], depth: Depth, size: tuple[int, int]) -> torch.Tensor:
        logits = self.backend.logits4(rgb[None], depth[None])
        own = functional.interpolate(logits, size=depth.shape, mode="bilinear", align_corners=False)
        return functional.interpolate(own.float(), size=size, mode="bilinear", align_corners=True)[0]


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (nearest_edge(edge * scale) for edge in size)
    return height, width
