"""Golden answers: they travel in ONNX files, and an engine is compared with them. The engines here are stand-ins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asymformer_ros.engine.build import BuildResult
from asymformer_ros.engine.golden import (
    COUNT,
    Golden,
    add_golden,
    answer_golden,
    golden_frames,
    golden_verifier,
    read_golden,
)
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError, CheckpointError
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION

SIZE = (32, 64)
CARD = ModelCard("tiny", label_set("nyuv2_40"), PUBLISHED_NORMALIZATION, SIZE)
BUILT = BuildResult("10.3.0", 1.0, 1, (), ())
PLAN = Path("engine.plan")


class Rounder:
    """A backend whose labels are the red, in steps; `wrong` pixels of each frame are others."""

    def __init__(self, wrong: int = 0, confidence: int = 200, fails: bool = False) -> None:
        self.name, self.card = "rounder fp32", CARD
        self.wrong, self.confidence, self.fails = wrong, confidence, fails
        self.asked = self.closed = 0

    def infer(self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False) -> Prediction:
        self.asked += 1
        if self.fails:
            raise BackendError("the GPU failed")
        labels = rgb[..., 0] // 8
        labels.ravel()[: self.wrong] += 1
        return Prediction(labels, np.full(SIZE, self.confidence, np.uint8) if with_confidence else None)

    def close(self) -> None:
        self.closed += 1


def verified(engine: Rounder, golden: Golden | None, reference: Rounder, log: list[str] | None = None) -> Verification:
    told = [] if log is None else log
    return golden_verifier(CARD, lambda: golden, lambda: reference, lambda plan: engine, told.append)(PLAN, BUILT)


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
    found = verified(engine, answer_golden(Rounder()), reference)
    assert (found.frames, found.agreement, found.finite, found.passed) == (COUNT, 1.0, True, True)
    assert (engine.asked, engine.closed, reference.asked) == (COUNT, 1, 0)


def test_an_engine_that_answers_otherwise_fails() -> None:
    found = verified(Rounder(wrong=100), answer_golden(Rounder()), Rounder())
    assert not found.passed
    assert found.agreement == pytest.approx(1 - 100 / (SIZE[0] * SIZE[1]))


def test_no_confidence_at_all_is_a_sign_of_nan() -> None:
    assert not verified(Rounder(confidence=0), answer_golden(Rounder()), Rounder()).finite


def test_without_golden_answers_the_reference_is_asked_once_for_all_engines() -> None:
    reference, log = Rounder(), list[str]()
    verifier = golden_verifier(CARD, lambda: None, lambda: reference, lambda plan: Rounder(), log.append)
    assert verifier(PLAN, BUILT).passed
    assert verifier(PLAN, BUILT).passed
    assert (reference.asked, reference.closed) == (COUNT, 1)
    assert log == ["the model holds no golden answers: rounder fp32 answers them"]


def test_answers_to_other_frames_are_not_used() -> None:
    stale, reference, log = Golden(np.zeros((COUNT, *SIZE), np.uint8), "0" * 64), Rounder(), list[str]()
    assert verified(Rounder(), stale, reference, log).passed
    assert reference.asked == COUNT
    assert "other golden frames" in log[0]


def test_an_engine_that_fails_is_closed_all_the_same() -> None:
    engine = Rounder(fails=True)
    with pytest.raises(BackendError, match="the GPU failed"):
        verified(engine, answer_golden(Rounder()), Rounder())
    assert engine.closed == 1


def test_golden_answers_survive_an_onnx_file() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    golden, model = answer_golden(Rounder()), onnx.ModelProto()
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
    from asymformer_ros.engine.export import ExportOptions, add_golden_answers, export_model, write_model
    from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.onnx_file import load
    from asymformer_ros.network import SMALL
    from asymformer_ros.onnx_graph.mixed import to_mixed

    bundle, options = ModelBundle.untrained(SMALL, label_set("nyuv2_40")), ExportOptions(input_size=SIZE)
    model = export_model(bundle, options)
    add_golden_answers(model, bundle, options)
    write_model(model, tmp_path / "model.onnx")
    golden = read_golden(load(tmp_path / "model.onnx"))
    assert golden is not None
    served = answer_golden(OnnxRuntimeBackend.open(str(tmp_path / "model.onnx"), lambda text: None))
    assert served.frames_sha256 == golden.frames_sha256
    assert np.mean(served.labels == golden.labels) > 0.999
    assert read_golden(to_mixed(model, ())) is not None
