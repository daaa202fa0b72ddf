"""The parts of `scripts/gpu_check` that ask about engines, on stand-ins and on TensorRT-RTX as it builds here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="engines are built of ONNX graphs")
ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import gpu_engine
import gpu_questions
import gpu_variants

from asymformer_ros.engine import request
from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.engine.golden import GoldenCheck, read_golden
from asymformer_ros.inference import selection, tensorrt
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.models.opening import open_model


class Swapping:
    """A backend that goes over to an engine, or says that there will be none."""

    def __init__(self, frames: int, progress: str = "") -> None:
        self._left, self.progress = frames, progress

    @property
    def name(self) -> str:
        return "torch cuda fp16" if self._left > 0 else "tensorrt 10.3 fp16"

    def infer(self, rgb: object, depth: object) -> None:
        self._left -= 1


def test_the_gap_at_the_swap_is_measured_until_the_engine_has_served_for_a_while() -> None:
    found = gpu_questions.gaps(Swapping(40), [(None, None)], rate=1000.0)
    assert found["frames"] == 39 + gpu_questions.AFTER
    assert found["longest_ms"] >= found["longest_near_swap_ms"] > 0
    assert "139 frames at 1000 Hz" in found["summary"]


def test_a_swap_that_will_not_come_is_a_reason() -> None:
    found = gpu_questions.gaps(Swapping(10**9, "none: it cannot be built"), [(None, None)], rate=1000.0)
    assert found == {"reason": "there is no engine to go over to: none: it cannot be built"}


@pytest.mark.parametrize(
    ("layer", "group"),
    [
        ("/classify/ArgMax", "argmax"),
        ("{ForeignNode[/network/stages.1/fusion/correlate/Softmax]}", "CMA attention"),
        ("_gemm_mha_v2_/network/stages.2/depth/blocks.0/attention/MatMul", "other attention"),
        ("Reformatting CopyNode for Input Tensor 0", "reformat"),
        ("/network/stem/Conv + /network/stem/Relu", "convolution"),
        ("/network/Resize", "other"),
    ],
)
def test_layers_of_the_profile_are_grouped_by_name(layer: str, group: str) -> None:
    assert gpu_questions.group_of(layer) == group


def test_a_changed_build_is_the_packages_own_afterwards() -> None:
    seen = list[str]()
    compiler = SimpleNamespace(set_precision=lambda *_: ("unmatched",))
    own = compiler.set_precision
    with gpu_variants.changed(compiler, lambda trt, config: seen.append(f"{trt} {config}")):
        assert compiler.set_precision(SimpleNamespace(trt="trt"), None, "config", None) == ("unmatched",)
    assert seen == ["trt config"]
    assert compiler.set_precision is own


def test_the_second_build_has_the_first_ones_timings_and_nothing_else(tmp_path: Path) -> None:
    assert not gpu_questions._fresh_with_timings(tmp_path, "second_build")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "timings-tensorrt-10.3.0.bin").write_bytes(b"timings")
    (tmp_path / "second_build" / "old").touch()
    assert gpu_questions._fresh_with_timings(tmp_path, "second_build")
    assert [path.name for path in (tmp_path / "second_build").iterdir()] == ["timings-tensorrt-10.3.0.bin"]


class Served:
    """Stands in for an engine's backend: it answers as the golden frames want it."""

    def __init__(self, answers: np.ndarray) -> None:
        self.name, self.card = "tensorrt_rtx engine", open_model("demo").card
        self._answers, self._count = answers, 0

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        labels = self._answers[self._count % len(self._answers)]
        self._count += 1
        return Prediction(labels, np.full(labels.shape, 255, np.uint8) if with_confidence else None)

    def close(self) -> None: ...


@pytest.fixture
def on_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX as it is, for a GPU that is not here; engines are built, what they would answer is known."""
    pytest.importorskip("tensorrt_rtx", reason="builds without a GPU")
    golden = read_golden(onnx.load(str(ROOT / "asymformer_ros" / "models" / "weights" / "demo.onnx")))
    assert golden is not None
    monkeypatch.setattr(gpu_engine, "probe_gpu", lambda: GpuInfo("NVIDIA GeForce RTX 4090", (8, 9), (12, 6)))
    monkeypatch.setattr(request, "installed_builders", lambda: ("tensorrt_rtx",))
    monkeypatch.setattr(tensorrt, "open_engine", lambda file, model: Served(golden.labels))
    check = GoldenCheck(open_model("demo"), lambda plan: Served(golden.labels), lambda: Served(golden.labels))
    monkeypatch.setattr(selection, "golden_check", lambda model, library: check)
    monkeypatch.setattr(gpu_engine, "RUNS", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("on_rtx")
def test_types_and_changed_builds_on_the_real_tensorrt_rtx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    types = gpu_questions.types_part("types", "demo", tmp_path)
    assert types["counts"]["DataType.HALF, tensor DataType.HALF"] > 100
    built = gpu_questions.tf32_part("tf32_on", "demo", tmp_path)
    assert (built["agreement"], built["refused"]) == (1.0, "")
    plan = (tmp_path / "tf32_on" / "engine.plan").stat()
    again = gpu_questions.tf32_part("tf32_on", "demo", tmp_path)
    assert again["build_seconds"] == built["build_seconds"]
    assert (tmp_path / "tf32_on" / "engine.plan").stat().st_mtime == plan.st_mtime
    assert gpu_questions.pins_part("pins_obey", "demo", tmp_path)["skipped"].endswith("precision from the graph")
    monkeypatch.setattr(gpu_questions, "OTHERS", [str(ROOT / "asymformer_ros" / "models" / "weights" / "demo.onnx")])
    assert gpu_questions.against_part("against", "demo", tmp_path)["agreement"] == 1.0
    weights = onnx.load(str(tmp_path / "graphs" / "against.onnx")).graph.initializer
    assert sum(weight.data_type == onnx.TensorProto.FLOAT16 for weight in weights) > 100
