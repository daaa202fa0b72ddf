"""From a camera's frame to a label map of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import AsymformerError
from asymformer_ros.frames.depth import Depth, depth_metres
from asymformer_ros.frames.frame import UNLABELLED, Image, RgbdFrame
from asymformer_ros.frames.resize import resize_frame, resize_nearest
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.segmentation import Segmentation, StageTimes
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.models.groups import LabelGroups
from asymformer_ros.models.labels import LabelSet


class Segmenter:
    """Runs frames of any size through a backend. Used by one thread at a time; closed at the end of a `with`."""

    def __init__(self, backend: InferenceBackend, groups: LabelGroups | None = None) -> None:
        """groups: of the backend's classes, which become the classes of all answers."""
        self.backend, self._groups = backend, groups

    @property
    def label_set(self) -> LabelSet:
        """Names and colours of the classes of all answers."""
        return self.backend.card.label_set if self._groups is None else self._groups.label_set

    def __call__(
        self, rgb: Image, depth: Image, *, min_confidence: float = 0.0, smoothing: TemporalSmoothing | None = None
    ) -> Segmentation:
        """Label each pixel of a colour image and the depth image registered to it: arrays, or paths of image files.

        What they may hold: see `RgbdFrame.of`. The answer has a confidence map. Both options: as of `segment`.
        Raises FrameError for anything else, BackendError where the backend fails.
        """
        frame = RgbdFrame.of(rgb, depth)
        return self.segment(frame, with_confidence=True, min_confidence=min_confidence, smoothing=smoothing)

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the model. Nothing may be called afterwards."""
        self.backend.close()

    def segment(
        self,
        frame: RgbdFrame,
        *,
        with_confidence: bool = False,
        min_confidence: float = 0.0,
        smoothing: TemporalSmoothing | None = None,
    ) -> Segmentation:
        """Label each pixel of a frame.

        with_confidence: whether the answer holds the confidence map; it costs a softmax.
        min_confidence: 0..1; pixels whose confidence is below get UNLABELLED.
        smoothing: of the camera whose next frame this is; None takes the frame by itself. Raises BackendError.
        """
        streams = [] if smoothing is None else [smoothing]
        return self.segment_all(
            [frame], with_confidence=with_confidence, min_confidence=min_confidence, smoothing=streams
        )[0]

    def segment_all(
        self,
        frames: Sequence[RgbdFrame],
        *,
        with_confidence: bool = False,
        min_confidence: float = 0.0,
        smoothing: Sequence[TemporalSmoothing] = (),
    ) -> list[Segmentation]:
        """Label several frames, of any sizes, in one go, as `segment` does one; each has the stage times of all.

        smoothing: of each frame the one of its camera, or none at all.
        """
        for stream in smoothing:
            stream.start(self.backend.model_sha256)
        start = perf_counter()
        rgb, depth = _batch([resize_frame(frame, self.backend.card.input_size) for frame in frames])
        resized = perf_counter()
        wants = with_confidence or min_confidence > 0
        labels, confidence = self.backend.infer(rgb, depth, with_confidence=wants, smoothing=smoothing)
        inferred = perf_counter()
        if self._groups is not None:
            labels = self._groups.apply(labels)
        if confidence is not None and min_confidence > 0:
            labels[confidence < np.ceil(min_confidence * 255)] = UNLABELLED
        all_labels = _resized(labels, frames)
        confidences: Sequence[NDArray[np.uint8] | None] = [None] * len(frames)
        if with_confidence and confidence is not None:
            confidences = _resized(confidence, frames)
        done = perf_counter()
        times = StageTimes((resized - start) * 1e3, (inferred - resized) * 1e3, (done - inferred) * 1e3)
        return [
            Segmentation(label_map, share, frame, self.label_set, times)
            for label_map, share, frame in zip(all_labels, confidences, frames, strict=True)
        ]


def load(
    model: str | PathLike[str],
    backend: str = "auto",
    device: str = "auto",
    label_set: str | PathLike[str] | None = None,
    label_groups: str | PathLike[str] | Mapping[str, Any] | None = None,
) -> Segmenter:
    """Open a model: a known name such as "demo" or "nyuv2", or the path of a bundle, a checkpoint or an .onnx file.

    backend: "auto", "torch", "onnxruntime" or "tensorrt". device: of PyTorch, "auto", "cpu" or "cuda". label_set: name
    or .json file of the classes, in place of those that the file names; any RGB-D network in ONNX is served with it.
    label_groups: groups of the classes that take their place, a mapping or a YAML file, as `LabelGroups.of` describes;
    the confidence stays that of the best class. What "auto" chooses, and why, is logged. Raises CheckpointError where
    there is no such model, BackendError where an explicit choice cannot run, DependencyError where a library is
    missing, ConfigurationError for a value that makes no sense and for a label set or groups that do not fit.
    """
    from asymformer_ros.inference.options import ServingOptions
    from asymformer_ros.inference.selection import open_serving

    options = ServingOptions(backend, device, "" if label_set is None else fspath(label_set))
    return with_groups(open_serving(fspath(model), options), label_groups)


def with_groups(backend: InferenceBackend, groups: str | PathLike[str] | Mapping[str, Any] | None) -> Segmenter:
    """A segmenter on a backend, which is closed where the groups cannot be used. Raises as `LabelGroups.read` does."""
    try:
        return Segmenter(backend, LabelGroups.read(groups, backend.card.label_set) if groups else None)
    except AsymformerError:
        backend.close()
        raise


Input = tuple[NDArray[np.uint8], Depth]


def _resized(maps: NDArray[np.uint8], frames: Sequence[RgbdFrame]) -> list[NDArray[np.uint8]]:
    """Each of the maps (N, h, w) in the size of its frame."""
    return [resize_nearest(one, frame.size) for one, frame in zip(maps, frames, strict=True)]


def _batch(inputs: list[Input]) -> Input:
    """Stack the inputs of several frames, in metres where one of them is; one frame's is a view."""
    if len(inputs) == 1:
        return inputs[0][0][None], inputs[0][1][None]
    depths: list[Depth] = [depth for _, depth in inputs]
    if len({depth.dtype for depth in depths}) > 1:
        depths = [depth_metres(depth) for depth in depths]
    return np.stack([rgb for rgb, _ in inputs]), np.stack(depths)
