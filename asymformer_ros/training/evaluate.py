"""Scores of a network on labelled frames, while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from asymformer_ros.evaluation.confusion import ConfusionMatrix
from asymformer_ros.frames.resize import resize_pair
from asymformer_ros.network import AsymFormer
from asymformer_ros.training.augment import Sample
from asymformer_ros.training.batches import Batch
from asymformer_ros.training.frames import Frames
from asymformer_ros.training.half import half_type
from asymformer_ros.training.plan import Plan, Resources

_BATCH = 8


class Evaluator:
    """Some frames, at their own size, against a network that sees them at its input size."""

    def __init__(self, frames: Frames, indices: Sequence[int], plan: Plan, resources: Resources) -> None:
        self._frames, self.indices, self._device = frames, indices, resources.device
        self._own = indices[resources.processes.rank :: resources.processes.count]
        self._size, self._normalization = plan.input_size, plan.normalization

    def confusion(self, network: AsymFormer, stop: Callable[[], bool] = lambda: False) -> ConfusionMatrix | None:
        """Counts over this process's share of the frames, or None where `stop` became true meanwhile."""
        matrix = ConfusionMatrix(network.config.num_classes)
        for start in range(0, len(self._own), _BATCH):
            samples = [self._frames[index] for index in self._own[start : start + _BATCH]]
            for sample, predicted in zip(samples, self._predict(network, samples), strict=True):
                matrix.add(sample.labels, predicted)
            if stop():
                return None
        return matrix

    def examples(self, network: AsymFormer, count: int) -> list[tuple[Sample, NDArray[np.uint8]]]:
        """Frames with their predicted labels, evenly spaced."""
        chosen = self.indices[:: max(1, len(self.indices) // count)][:count]
        samples = [self._frames[index] for index in chosen]
        return list(zip(samples, self._predict(network, samples), strict=True))

    @torch.no_grad()
    def _predict(self, network: AsymFormer, samples: Sequence[Sample]) -> Iterator[NDArray[np.uint8]]:
        batch = Batch.of([self._resized(sample) for sample in samples])
        rgb, depth = batch.inputs(self._normalization, self._device)
        half = half_type(self._device)
        with torch.autocast(self._device.type, half, enabled=half is not None):
            logits = network.forward_stride4(rgb, depth)
        for sample, one in zip(samples, logits.float(), strict=True):
            large = F.interpolate(one[None], size=sample.labels.shape, mode="bilinear", align_corners=False)
            yield large[0].argmax(0).to(torch.uint8).cpu().numpy()

    def _resized(self, sample: Sample) -> Sample:
        rgb, depth = resize_pair(sample.rgb, sample.depth, self._size)
        return Sample(rgb, depth, np.zeros(self._size, np.uint8))
