"""Golden frames and what FP32 answers to them: by these an engine proves itself before it serves.

The answers may travel in the metadata of an ONNX file, so that neither PyTorch nor ONNX Runtime is needed where the
engine is built.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.api import Library
from asymformer_ros.engine.build import BuildResult
from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.engine.provide import Verifier
from asymformer_ros.engine.runtime import EngineFile, open_engine
from asymformer_ros.engine.verify import Answer, Verification, verify
from asymformer_ros.errors import CheckpointError
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.backend import InferenceBackend, Prediction, open_backend
from asymformer_ros.inference.tensorrt import EngineModel
from asymformer_ros.models.card import ModelCard

KEY = "golden"
"""Of the ONNX file's metadata."""

COUNT = 4

Frames = list[tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""rgb (h, w, 3) uint8 and depth (h, w) float32 metres, NaN where unknown."""


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
            data = json.loads(text)
            raw = np.frombuffer(zlib.decompress(base64.b64decode(data["labels"], validate=True)), np.uint8)
            return Golden(raw.reshape(data["shape"]), str(data["frames_sha256"]))
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise CheckpointError(f"the ONNX file's golden answers are damaged ({error}): export it again") from error


def golden_frames(size: tuple[int, int]) -> Frames:
    """The same frames each time, of the simulated world, at (height, width)."""
    return [resize_frame(frame, size) for frame in sample_frames(None, COUNT)]


def answer_golden(reference: InferenceBackend) -> Golden:
    """What an FP32 backend says to the golden frames. Raises BackendError."""
    frames = golden_frames(reference.card.input_size)
    labels = [reference.infer(rgb, depth).labels for rgb, depth in frames]
    return Golden(np.stack(labels), _hash(frames))


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


def make_verifier(model: str, described: EngineModel, library: Library, log: Callable[[str], None]) -> Verifier:
    """A Verifier of a bundle's, an ONNX file's or an untrained network's engines.

    FP32 is the golden answers of an ONNX file; where it has none, or there is no ONNX file, it is PyTorch or ONNX
    Runtime on the CPU. Nothing is read or computed before the first engine comes. log: as for `golden_verifier`.
    """
    is_onnx = model.endswith(".onnx")

    def golden() -> Golden | None:
        if not is_onnx:
            return None
        from asymformer_ros.models.onnx_file import load  # a robot with a bundle has no need of it

        return read_golden(load(model))

    def open_plan(plan: Path) -> InferenceBackend:
        return open_engine(EngineFile(plan, library, "engine"), described, log)

    def reference() -> InferenceBackend:
        return open_backend("onnxruntime" if is_onnx else "torch", model, "auto" if is_onnx else "cpu", log)

    return golden_verifier(described.card, golden, reference, open_plan, log)


def golden_verifier(
    card: ModelCard,
    golden: Callable[[], Golden | None],
    reference: Callable[[], InferenceBackend],
    open_plan: Callable[[Path], InferenceBackend],
    log: Callable[[str], None],
) -> Verifier:
    """A Verifier that runs the golden frames through a plan and compares with FP32.

    golden: reads the answers that are known; where there are none, or where this machine makes other frames of the
    same recipe, `reference` is opened once and asked. open_plan: opens the plan to serve. log: told why the reference
    is asked. What they raise goes through.
    """
    known: list[tuple[Frames, NDArray[np.uint8]]] = []

    def verifier(plan: Path, _built: BuildResult) -> Verification:
        if not known:
            frames = golden_frames(card.input_size)
            known.append((frames, _expected(frames, golden(), reference, log)))
        frames, expected = known[0]
        engine = open_plan(plan)
        try:
            got = [_answer(engine.infer(rgb, depth, with_confidence=True)) for rgb, depth in frames]
        finally:
            engine.close()
        return verify([Answer(labels) for labels in expected], got)

    return verifier


def _expected(
    frames: Frames,
    golden: Golden | None,
    reference: Callable[[], InferenceBackend],
    log: Callable[[str], None],
) -> NDArray[np.uint8]:
    if golden is not None and golden.frames_sha256 == _hash(frames):
        return golden.labels
    backend = reference()
    why = "holds no golden answers" if golden is None else "has answers to other golden frames than this machine makes"
    log(f"the model {why}: {backend.name} answers them")
    try:
        return np.stack([backend.infer(rgb, depth).labels for rgb, depth in frames])
    finally:
        backend.close()


def _answer(prediction: Prediction) -> Answer:
    """The confidence of a finite answer is never 0: with N classes it is 255 / N at least, and no label set has 510."""
    labels, confidence = prediction
    return Answer(labels, None if confidence is None else np.where(confidence == 0, np.nan, confidence))


def _hash(frames: Frames) -> str:
    digest = hashlib.sha256()
    for rgb, depth in frames:
        digest.update(np.ascontiguousarray(rgb).tobytes())
        digest.update(np.ascontiguousarray(depth).tobytes())
    return digest.hexdigest()
