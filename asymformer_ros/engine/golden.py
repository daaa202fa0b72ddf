"""Golden frames and what FP32 answers to them: by these an engine proves itself before it serves.

The answers may travel in the metadata of an ONNX file, so that neither PyTorch nor ONNX Runtime is needed where the
engine is built.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.engine.verify import Answer, Verification, verify
from asymformer_ros.errors import CheckpointError
from asymformer_ros.frames.depth import Depth
from asymformer_ros.frames.resize import resize_pair
from asymformer_ros.models.model import Model
from asymformer_ros.system.files import parse_json

_log = logging.getLogger(__name__)

KEY = "golden"
"""Of the ONNX file's metadata."""

COUNT = 4

Frames = list[tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""rgb (h, w, 3) uint8 and depth (h, w) float32 metres, NaN where unknown."""


class Answering(Protocol):
    """What is asked about golden frames: a plan that was opened, or FP32. An InferenceBackend is one."""

    @property
    def name(self) -> str: ...

    def infer(
        self, rgb: NDArray[np.uint8], depth: Depth, *, with_confidence: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Labels and confidence (h, w) of one frame. Raises BackendError."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Golden:
    """FP32's labels (COUNT, h, w) uint8 of the golden frames, and the hash of those very frames."""

    labels: NDArray[np.uint8]
    frames_sha256: str

    def to_text(self) -> str:
        """For `from_text`."""
        packed = base64.b64encode(zlib.compress(self.labels.tobytes(), 9)).decode()
        return json.dumps({"shape": self.labels.shape, "frames_sha256": self.frames_sha256, "labels": packed})

    @staticmethod
    def from_text(text: str) -> Golden:
        """Inverse of `to_text`. Raises CheckpointError for anything else."""
        try:
            data = parse_json(text)
            raw = np.frombuffer(zlib.decompress(base64.b64decode(data["labels"], validate=True)), np.uint8)
            return Golden(raw.reshape(data["shape"]), str(data["frames_sha256"]))
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise CheckpointError(f"the ONNX file's golden answers are damaged ({error}): export it again") from error


def golden_frames(size: tuple[int, int]) -> Frames:
    """The same frames each time, of the simulated world, at (height, width)."""
    return [resize_pair(frame.rgb, frame.depth, size) for frame in sample_frames(None, COUNT)]


def answer_golden(reference: Answering, size: tuple[int, int], context: BuildContext | None = None) -> Golden:
    """What an FP32 backend says to the golden frames of (height, width). Raises BackendError, also when cancelled."""
    frames = golden_frames(size)
    return Golden(np.stack([answer.labels for answer in _answers(reference, frames, context)]), _hash(frames))


def golden_of(
    size: tuple[int, int], answer: Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.uint8]]
) -> Golden:
    """As `answer_golden`, of a function from rgb and depth of one frame to its labels."""
    frames = golden_frames(size)
    return Golden(np.stack([answer(rgb, depth) for rgb, depth in frames]), _hash(frames))


def add_golden(model: Any, golden: Golden) -> None:
    """Write the answers into the metadata of an onnx.ModelProto, in place of those that it has."""
    kept = [entry for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=KEY, value=golden.to_text())


def read_golden(model: Any) -> Golden | None:
    """The answers in the metadata of an onnx.ModelProto, None where it has none. Raises CheckpointError."""
    texts = [entry.value for entry in model.metadata_props if entry.key == KEY]
    return Golden.from_text(texts[0]) if texts else None


def golden_in(model: Model) -> Golden | None:
    """The answers in the model's ONNX file, None where it has none to the frames that this machine makes."""
    golden = read_golden(model.proto) if model.proto is not None else None
    here = golden is not None and golden.frames_sha256 == _hash(golden_frames(model.card.input_size))
    return golden if here else None


class GoldenCheck:
    """Compares the engines of one model with FP32, on golden frames.

    FP32 is the golden answers in the model's file; where it has none, or where this machine makes other frames of the
    same recipe, `open_reference` opens what answers them, once for all engines.
    """

    def __init__(
        self, model: Model, open_plan: Callable[[Path], Answering], open_reference: Callable[[], Answering]
    ) -> None:
        self._model, self._open_plan, self._open_reference = model, open_plan, open_reference
        self._expected: Golden | None = None

    def verify(self, plan: Path, context: BuildContext) -> Verification:
        """Run a plan. Raises BackendError where it cannot be run, or the build is cancelled."""
        frames = golden_frames(self._model.card.input_size)
        if self._expected is None:
            self._expected = self._find_answers(frames, context)
        context.report("comparing the engine with FP32")
        engine = self._open_plan(plan)
        try:
            got = list(_answers(engine, frames, context))
        finally:
            engine.close()
        return verify([Answer(labels) for labels in self._expected.labels], got)

    def _find_answers(self, frames: Frames, context: BuildContext) -> Golden:
        golden = read_golden(self._model.proto) if self._model.proto is not None else None
        if golden is not None and golden.frames_sha256 == _hash(frames):
            return golden
        context.report("asking FP32 for its answers")
        reference = self._open_reference()
        why = (
            "holds no golden answers"
            if golden is None
            else "has answers to other golden frames than this machine makes"
        )
        _log.info("the model %s: %s answers them", why, reference.name)
        try:
            return answer_golden(reference, self._model.card.input_size, context)
        finally:
            reference.close()


def _answers(backend: Answering, frames: Frames, context: BuildContext | None) -> Iterator[Answer]:
    """The confidence of a finite answer is never 0: with N classes it is 255 / N at least, and no label set has 510."""
    for rgb, depth in frames:
        if context is not None:
            context.check()
        labels, confidence = backend.infer(rgb, depth, with_confidence=True)
        yield Answer(labels, None if confidence is None else np.where(confidence == 0, np.nan, confidence))


def _hash(frames: Frames) -> str:
    digest = hashlib.sha256()
    for rgb, depth in frames:
        digest.update(np.ascontiguousarray(rgb).tobytes())
        digest.update(np.ascontiguousarray(depth).tobytes())
    return digest.hexdigest()
