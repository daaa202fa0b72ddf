"""TensorRT: serves an engine. What runs on the GPU comes as a `Session`, which `engine/session.py` is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.runtime import EngineFile, TensorRtEngine
from asymformer_ros.engine.session import GpuSession
from asymformer_ros.errors import BackendError
from asymformer_ros.frames.depth import Depth, depth_bytes
from asymformer_ros.inference.backend import Prediction, as_batch
from asymformer_ros.inference.processing import classify_all
from asymformer_ros.inference.smoothing import TemporalSmoothing, smoothed
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.model import Model
from asymformer_ros.onnx_graph.names import CAMERA_INPUTS, LABEL_OUTPUTS

_log = logging.getLogger(__name__)

Done = TypeVar("Done")


class Session(Protocol):
    """An engine that is ready to run: its inputs are filled, it runs, its outputs are read. Used by one thread."""

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """By name; they keep their place."""

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """By name; valid until the next run."""

    def run(self) -> None:
        """Compute the outputs of the inputs. Raises BackendError."""

    def close(self) -> None:
        """Release everything."""


class TensorRtBackend:
    """Serves an engine. All its work on the GPU is done by one thread of its own, whichever thread calls.

    Fewer images than `batch` are filled up with black ones without depth, whose answers are dropped.
    """

    def __init__(self, model: Model, name: str, connect: Callable[[], Session]) -> None:
        """connect: opens the session, on the backend's thread. Raises BackendError where it is not the model's."""
        self.card: ModelCard = model.card
        self.model_sha256 = model.model_sha256
        self.batch, self.name = model.batch, name
        self._signature, self._shapes = model.signature, model.shapes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tensorrt")
        self._session: Session | None = None
        try:
            self._session = self._do(connect)
            self._check(self._session)
        except BaseException:
            self.close()
            raise

    def infer(
        self,
        rgb: NDArray[np.uint8],
        depth: Depth,
        *,
        with_confidence: bool = False,
        smoothing: Sequence[TemporalSmoothing] = (),
    ) -> Prediction:
        """See InferenceBackend. `batch` images are computed at once, more of them one batch after the other."""
        images, metres = as_batch(rgb, depth, self.card.input_size)
        if len(images) == 0:
            raise BackendError("input holds no image: expected at least one")
        prediction = self._do(lambda: self._infer(images, metres, smoothing, with_confidence))
        return prediction.first() if rgb.ndim == 3 else prediction

    def close(self) -> None:
        """Release the engine and its memory; nothing but another `close` may be called afterwards."""
        session, self._session = self._session, None
        try:
            if session is not None:
                self._thread.submit(session.close).result()
        finally:
            self._thread.shutdown()

    def _do(self, work: Callable[[], Done]) -> Done:
        try:
            return self._thread.submit(work).result()
        except RuntimeError as error:  # of a thread that was shut down
            raise BackendError(f"{self.name} cannot work: {error}") from error

    def _infer(
        self,
        rgb: NDArray[np.uint8],
        depth: Depth,
        smoothing: Sequence[TemporalSmoothing],
        with_confidence: bool,
    ) -> Prediction:
        session = self._session  # another thread may close meanwhile: its work then comes behind this
        if session is None:
            raise BackendError(f"{self.name} is closed")
        parts = []
        for start in range(0, len(rgb), self.batch):
            part = slice(start, start + self.batch)
            images, metres = rgb[part], depth[part]
            self._fill(session.inputs, images, metres)
            session.run()
            blend = partial(smoothed, rgb=images, depth=metres, smoothing=smoothing[part])
            parts.append(self._read(session.outputs, len(images), blend, with_confidence))
        return Prediction.joined(parts)

    @staticmethod
    def _fill(inputs: Mapping[str, NDArray[Any]], rgb: NDArray[np.uint8], depth: Depth) -> None:
        images = len(rgb)
        for name, values in zip(CAMERA_INPUTS, (rgb, depth_bytes(depth)), strict=True):
            inputs[name][:images], inputs[name][images:] = values, 0

    def _read(
        self, outputs: Mapping[str, NDArray[Any]], images: int, blend: Callable[..., Any], with_confidence: bool
    ) -> Prediction:
        if self._signature.gives_labels:
            labels, confidence = (outputs[name][:images] for name in LABEL_OUTPUTS)
            return Prediction(labels.copy(), confidence.copy() if with_confidence else None)
        logits = outputs[self._signature.outputs[0]][:images]
        return classify_all(blend(logits), self.card, with_confidence=with_confidence)

    def _check(self, session: Session) -> None:
        """The engine has the model's inputs and outputs: there is no other proof that they belong together."""
        came = {name: array.shape for name, array in session.inputs.items()}
        wanted = self._signature.outputs
        if came != self._shapes or not set(wanted) <= set(session.outputs):
            raise BackendError(
                f"the engine takes {came} and gives {', '.join(session.outputs)}, but the model takes {self._shapes} "
                f"and gives {', '.join(wanted)}: build the engine of this model again"
            )


def open_engine(file: EngineFile, model: Model, *, use_graph: bool = True) -> TensorRtBackend:
    """Load an engine, run it once, and serve it.

    use_graph: False launches each step by itself. Raises BackendError where there is no driver, no GPU or no pycuda,
    before TensorRT is touched, or where the engine cannot be loaded or is not the model's.
    """
    from asymformer_ros.engine.cuda import PycudaGpu

    try:
        plan = file.plan.read_bytes()
    except OSError as error:
        raise BackendError(f"the engine {file.plan} cannot be read ({error.strerror}): build it again") from error

    def connect() -> GpuSession:
        gpu = PycudaGpu()
        return GpuSession(gpu, lambda: TensorRtEngine(file.library, plan, file.kernels), use_graph=use_graph)

    return TensorRtBackend(model, file.name, connect)
