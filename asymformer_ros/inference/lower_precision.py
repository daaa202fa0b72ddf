"""BF16 and INT8: opened where they are asked for, on a CPU taken by "auto" where the camera's frames allow it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.cpu_graph import CpuGraphRequest, find_cpu_graph, provide_cpu_graph
from asymformer_ros.engine.verify import Answer, verify
from asymformer_ros.errors import BackendError
from asymformer_ros.frames.depth import Depth
from asymformer_ros.inference.backend import InferenceBackend, Prediction
from asymformer_ros.inference.choices import CPU_PRECISIONS
from asymformer_ros.inference.cpu import graphs_of, open_without_engine
from asymformer_ros.inference.libraries import open_backend, why_no_cuda
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.upgrading import UpgradingBackend
from asymformer_ros.models.catalogue import model_files
from asymformer_ros.optional import installed
from asymformer_ros.system.limits import computes_bfloat16

_log = logging.getLogger(__name__)

FRAMES = 8
_APART = 1.0  # seconds between two frames that are kept to compare with
_LOST = 1e-3  # share of all pixels from which a class may not be missing
_GAIN = 0.9  # of FP32's time: where it is no quicker, it is not worth a label


def open_on_cpu(name: str, options: ServingOptions, context: BuildContext) -> InferenceBackend:
    """As `open_without_engine`; with precision "auto" a lower one takes over where the frames that come allow it."""
    candidates = [precision for precision in CPU_PRECISIONS if not _obstacle(precision)]
    files = model_files(name)
    if options.precision != "auto" or options.wait or not candidates or not Path(files.onnx or files.bundle).is_file():
        return open_without_engine(name, options, context)
    frames, opened = CameraFrames(), [open_without_engine(name, options, context)]
    if opened[0].name.startswith("torch cuda"):
        return opened[0]

    def fallback() -> InferenceBackend:
        return _Watched(opened.pop() if opened else open_without_engine(name, options, context), frames)

    def make(context: BuildContext) -> InferenceBackend:
        frames.wait(context)
        refused = []
        for precision in candidates:
            try:
                candidate = _open(name, options, precision, context)
            except BackendError as error:
                context.check()
                refused.append(f"{precision} is refused: {error}")
                continue
            problem = frames.problem_of(candidate, context)
            if not problem:
                return candidate
            candidate.close()
            refused.append(f"{precision} is refused: {problem}")
        raise BackendError("; ".join(refused))

    return UpgradingBackend(fallback, make, awaited=False)


def open_in_precision(name: str, options: ServingOptions, context: BuildContext) -> InferenceBackend:
    """A model in the precision of CPU_PRECISIONS that is asked for; how far it agrees with FP32 is logged.

    BF16 is PyTorch's on CUDA, else OpenVINO's. Raises BackendError where this computer cannot compute in it.
    """
    if options.precision == "bf16" and _is_for_torch(name, options):
        return open_backend("torch", name, options.device, options)
    obstacle = _obstacle(options.precision)
    if obstacle:
        raise BackendError(f"precision is '{options.precision}' but {obstacle}: fp32 can serve here")
    return _open(name, options, options.precision, context)


def _is_for_torch(name: str, options: ServingOptions) -> bool:
    if options.backend == "auto" and options.device == "auto":
        return bool(model_files(name).bundle) and not why_no_cuda("auto")
    return options.backend == "torch" or options.device == "cuda"


def _obstacle(precision: str) -> str:
    """Why this computer cannot compute in a precision, in a sentence's part; "" where it can."""
    libraries = ("onnx", "onnxruntime", *(("openvino",) if precision == "bf16" else ()))
    missing = [library for library in libraries if not installed(library)]
    if missing:
        return f"{', '.join(missing)} is not installed"
    return "this processor has no instructions for it" if precision == "bf16" and not computes_bfloat16() else ""


def _open(name: str, options: ServingOptions, precision: str, context: BuildContext) -> Any:
    files = model_files(name)
    path = Path(files.onnx or files.bundle)
    if not path.is_file():
        raise BackendError(f"precision is '{precision}' but '{name}' is no file: make one with `asymformer untrained`")
    context.report(f"preparing {precision} on the CPU")
    from asymformer_ros.inference.onnxruntime import open_kept  # only where it is there: see `_obstacle`

    opened = partial(open_kept, path=path, precision=precision)
    request = CpuGraphRequest(path, options.label_set, opened, precision, options.input_size)
    cache = graphs_of(options)
    graph = find_cpu_graph(cache, request) or provide_cpu_graph(cache, request, context)
    backend, compared = graph.opened, graph.verification
    backend.agreement = compared.told("simulated frames")
    level = logging.INFO if compared.passed or options.precision == "auto" else logging.WARNING
    _log.log(level, "%s: %s", backend.name, backend.agreement)
    return backend


@dataclass
class CameraFrames:
    """Frames of the camera with FP32's labels: what a lower precision proves itself by."""

    seen: list[tuple[NDArray[np.uint8], Depth, NDArray[np.uint8]]] = field(default_factory=list)
    seconds: float = np.inf
    _next: float = 0.0

    def keep(self, rgb: NDArray[np.uint8], depth: Depth, labels: NDArray[np.uint8], seconds: float) -> None:
        """Of one frame, FP32's labels and how long they took; one a second is kept, of FRAMES in all."""
        now = monotonic()
        if len(self.seen) < FRAMES and now >= self._next:
            self._next = now + _APART
            self.seconds = min(self.seconds, seconds)
            self.seen.append((rgb.copy(), depth.copy(), labels.copy()))

    def wait(self, context: BuildContext) -> None:
        """Until there are enough. Raises BuildEndedError where nobody wants them any more."""
        while len(self.seen) < FRAMES:
            context.report(f"fp32 serves; a lower precision is tried after {FRAMES - len(self.seen)} more frames")
            context.wait(0.1)
            context.check()

    def problem_of(self, candidate: Any, context: BuildContext) -> str:
        """Why a backend may not take the place of FP32, in a sentence; "" where it may, and then it tells how well."""
        got, seconds = [], np.inf
        for rgb, depth, _ in self.seen:
            context.check()
            start = perf_counter()
            got.append(Answer(candidate.infer(rgb, depth).labels))
            seconds = min(seconds, perf_counter() - start)
        compared = verify([Answer(labels) for _, _, labels in self.seen], got)
        expected, found = _shares([labels for *_, labels in self.seen]), _shares([answer.labels for answer in got])
        lost = np.flatnonzero((expected >= _LOST) & (found == 0))
        candidate.agreement = compared.told("camera frames")
        if compared.problem:
            return compared.problem
        if lost.size:
            return f"class {candidate.card.label_set.names[lost[0]]} is lost"
        if seconds > _GAIN * self.seconds:
            return f"it takes {seconds / self.seconds:.0%} of the time of fp32"
        return ""


def _shares(labels: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    counts = np.bincount(np.concatenate([one.ravel() for one in labels]), minlength=256)
    return counts / counts.sum()


class _Watched:
    """A backend in FP32 some of whose single frames are kept with their labels."""

    def __init__(self, backend: InferenceBackend, frames: CameraFrames) -> None:
        self._backend, self._frames = backend, frames
        self.card, self.model_sha256 = backend.card, backend.model_sha256

    @property
    def name(self) -> str:
        """See InferenceBackend."""
        return self._backend.name

    def infer(self, rgb: NDArray[np.uint8], depth: Depth, **how: Any) -> Prediction:
        """See InferenceBackend."""
        start = perf_counter()
        prediction = self._backend.infer(rgb, depth, **how)
        smoothing = how.get("smoothing") or ()
        if rgb.shape[0] == 1 and rgb.ndim == 4 and not smoothing and not self.name.startswith("torch"):
            self._frames.keep(rgb[0], depth[0], prediction.labels[0], perf_counter() - start)
        return prediction

    def close(self) -> None:
        """See InferenceBackend."""
        self._backend.close()
