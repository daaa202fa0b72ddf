"""Golden answers: they travel in ONNX files, and an engine is compared with them. The engines here are stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.golden import (
    COUNT,
    Golden,
    GoldenCheck,
    add_golden,
    answer_golden,
    golden_frames,
    read_golden,
)
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError, CheckpointError
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.models.opening import open_model

SIZE = (32, 64)
CARD = ModelCard("tiny", label_set("nyuv2_40"), PUBLISHED_NORMALIZATION, SIZE)
PLAN = Path("engine.plan")


class Rounder:
    """A backend whose labels are the red, in steps; `wrong` pixels of each frame are others."""

    def __init__(self, wrong: int = 0, confidence: int = 200, fails: bool = False) -> None:
        self.name, self.card, self.model_sha256 = "rounder fp32", CARD, ""
        self.wrong, self.confidence, self.fails = wrong, confidence, fails
        self.asked = self.closed = 0
        self.then: Callable[[], None] = lambda: None

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        self.asked += 1
        self.then()
        if self.fails:
            raise BackendError("the GPU failed")
        labels = rgb[..., 0] // 8
        labels.ravel()[: self.wrong] += 1
        return Prediction(labels, np.full(SIZE, self.confidence, np.uint8) if with_confidence else None)

    def close(self) -> None:
        self.closed += 1


def check(engine: Rounder, golden: Golden | None, reference: Rounder) -> GoldenCheck:
    onnx = pytest.importorskip("onnx", reason="golden answers travel in ONNX files")
    proto = onnx.ModelProto()
    if golden is not None:
        add_golden(proto, golden)
    return GoldenCheck(Model(PLAN, CARD, proto=proto), lambda plan: engine, lambda: reference)


def verified(engine: Rounder, golden: Golden | None, reference: Rounder) -> Verification:
    return check(engine, golden, reference).verify(PLAN, BuildContext())


def test_the_frames_are_the_same_each_time_and_of_the_models_size() -> None:
    first, second = golden_frames(SIZE), golden_frames(SIZE)
    assert len(first) == COUNT
    for (rgb, depth), (rgb_again, depth_again) in zip(first, second, strict=True):
        assert (rgb.shape, depth.shape) == ((*SIZE, 3), SIZE)
        np.testing.assert_array_equal(rgb, rgb_again)
        np.testing.assert_array_equal(depth, depth_again)
    assert np.isnan(first[0][1]).any()


def test_an_engine_that_answers_as_the_golden_answers_say_passes_and_nobody_else_is_asked() -> None:
    engine, reference = Rounder(), Rounder()
    found = verified(engine, answer_golden(Rounder(), SIZE), reference)
    assert (found.frames, found.agreement, found.finite, found.passed) == (COUNT, 1.0, True, True)
    assert (engine.asked, engine.closed, reference.asked) == (COUNT, 1, 0)


def test_an_engine_that_answers_otherwise_fails() -> None:
    found = verified(Rounder(wrong=100), answer_golden(Rounder(), SIZE), Rounder())
    assert not found.passed
    assert found.agreement == pytest.approx(1 - 100 / (SIZE[0] * SIZE[1]))


def test_no_confidence_at_all_is_a_sign_of_nan() -> None:
    assert not verified(Rounder(confidence=0), answer_golden(Rounder(), SIZE), Rounder()).finite


def test_without_golden_answers_the_reference_is_asked_once_for_all_engines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    reference = Rounder()
    checking = check(Rounder(), None, reference)
    assert checking.verify(PLAN, BuildContext()).passed
    assert checking.verify(PLAN, BuildContext()).passed
    assert (reference.asked, reference.closed) == (COUNT, 1)
    assert caplog.messages == ["the model holds no golden answers: rounder fp32 answers them"]


def test_answers_to_other_frames_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    stale, reference = Golden(np.zeros((COUNT, *SIZE), np.uint8), "0" * 64), Rounder()
    assert verified(Rounder(), stale, reference).passed
    assert reference.asked == COUNT
    assert "other golden frames" in caplog.messages[0]


@pytest.mark.parametrize("golden", [None, "known"])
def test_a_cancelled_verification_ends_before_the_next_frame(golden: str | None) -> None:
    context, engine, reference = BuildContext(), Rounder(), Rounder()
    asked = engine if golden else reference
    asked.then = context.cancel
    checking = check(engine, answer_golden(Rounder(), SIZE) if golden else None, reference)
    with pytest.raises(BackendError, match="was cancelled"):
        checking.verify(PLAN, context)
    assert (asked.asked, asked.closed) == (1, 1)


def test_an_engine_that_fails_is_closed_all_the_same() -> None:
    engine = Rounder(fails=True)
    with pytest.raises(BackendError, match="the GPU failed"):
        verified(engine, answer_golden(Rounder(), SIZE), Rounder())
    assert engine.closed == 1


def test_golden_answers_survive_an_onnx_file() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    golden, model = answer_golden(Rounder(), SIZE), onnx.ModelProto()
    model.metadata_props.add(key="format", value="asymformer_onnx")
    assert read_golden(model) is None
    for _ in range(2):
        add_golden(model, golden)
    again = onnx.ModelProto.FromString(model.SerializeToString())
    assert [entry.key for entry in again.metadata_props] == ["format", "golden"]
    found = read_golden(again)
    assert found is not None
    np.testing.assert_array_equal(found.labels, golden.labels)
    assert found.frames_sha256 == golden.frames_sha256


@pytest.mark.parametrize("text", ["", "{}", '{"shape": [4, 2], "frames_sha256": "", "labels": "AAAA"}', "[1]"])
def test_damaged_golden_answers_are_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="golden answers are damaged"):
        Golden.from_text(text)


def test_an_export_holds_what_onnx_runtime_answers_to_the_golden_frames(tmp_path: Path) -> None:
    for library in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend
    from asymformer_ros.inference.torch import TorchBackend
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.export import write_model
    from asymformer_ros.network import SMALL
    from asymformer_ros.onnx_graph.mixed import to_mixed

    bundle = ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=SIZE)
    model = Model(PLAN, bundle.card, bundle=bundle)
    graph = model.graph
    add_golden(graph, answer_golden(TorchBackend.open(model, "cpu"), SIZE))
    write_model(graph, tmp_path / "model.onnx")
    opened = open_model(str(tmp_path / "model.onnx"))
    golden = read_golden(opened.proto)
    assert golden is not None
    served = answer_golden(OnnxRuntimeBackend.open(opened), SIZE)
    assert served.frames_sha256 == golden.frames_sha256
    assert np.mean(served.labels == golden.labels) > 0.999
    assert read_golden(to_mixed(graph, ())) is not None
