"""Which backend serves, and how the engine takes over from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the models of these tests are bundles")

from asymformer_ros import serving
from asymformer_ros.engine.driver import GpuInfo, probe_gpu
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.inference.backend import InferenceBackend, Prediction, open_backend
from asymformer_ros.inference.upgrading import UpgradingBackend
from asymformer_ros.models.catalogue import ModelFiles
from asymformer_ros.serving import ServingOptions, Voices, engine_obstacle, open_serving

without_gpu = pytest.mark.skipif(isinstance(probe_gpu(), GpuInfo), reason="says what happens without a GPU")


class Heard(list[str]):
    """Remembers why something less than the best serves."""

    @property
    def voices(self) -> Voices:
        return Voices(info=lambda text: None, fallback=self.append)


def wait(condition: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@without_gpu
def test_auto_without_a_driver_says_so_and_serves_with_pytorch() -> None:
    heard = Heard()
    backend = open_serving("untrained", ServingOptions(), heard.voices)
    assert backend.name == "torch cpu fp32"
    assert "no TensorRT engine: no NVIDIA driver" in heard[0]
    backend.close()


@without_gpu
def test_tensorrt_by_name_without_a_driver_is_an_error_that_says_what_to_use() -> None:
    with pytest.raises(BackendError, match="no engine can run here: no NVIDIA driver.*auto finds what can"):
        open_serving("untrained", ServingOptions(backend="tensorrt"), Heard().voices)


def test_a_gpu_without_the_libraries_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "probe_gpu", lambda: GpuInfo("Orin", (8, 7), (12, 6)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert engine_obstacle().startswith("tensorrt, pycuda, onnx not installed")


def test_without_pytorch_an_engine_is_made_of_the_onnx_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def describe(model: str, _batch: int) -> None:
        asked.append(model)
        raise BackendError("this is as far as the test goes")

    monkeypatch.setattr(serving, "engine_obstacle", lambda: "")
    monkeypatch.setattr(serving, "model_files", lambda model: ModelFiles("demo.safetensors", "demo.onnx"))
    monkeypatch.setattr("asymformer_ros.engine.provide.choose_builder", lambda choice, gpu: SimpleNamespace(name=""))
    monkeypatch.setattr("asymformer_ros.engine.source.engine_model", describe)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match="as far as the test goes"):
        open_serving("demo", ServingOptions(backend="tensorrt"), Heard().voices)
    assert asked == ["demo.onnx"]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"backend": "openvino"}, "'openvino': expected one of auto, torch"), ({"precision": "int8"}, "'int8'")],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ServingOptions(**options)  # type: ignore[arg-type]


class Engine:
    """Stands in for an engine that runs, which needs a GPU; it was really built."""

    def __init__(self, served: InferenceBackend) -> None:
        self.name, self.card, self._served = "tensorrt_rtx fp16", served.card, served

    def infer(self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False) -> Prediction:
        return self._served.infer(rgb, depth, with_confidence=with_confidence)

    def close(self) -> None:
        self._served.close()


@pytest.mark.slow
def test_an_engine_is_really_built_beside_pytorch_and_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="builds without a GPU")
    plans: list[Path] = []

    def run_engine(file: object, model: object, log: object) -> Engine:
        plans.append(file.plan)  # type: ignore[attr-defined]
        return Engine(open_backend("torch", "untrained", "cpu", lambda reason: None))

    if isinstance(probe_gpu(), GpuInfo):
        pytest.skip("with a GPU the engine would be verified: test_gpu runs it")
    monkeypatch.setattr(serving, "engine_obstacle", lambda: "")
    monkeypatch.setattr("asymformer_ros.engine.runtime.open_engine", run_engine)
    heard = Heard()
    backend = open_serving("untrained", ServingOptions(engine_cache=str(tmp_path)), heard.voices)
    assert isinstance(backend, UpgradingBackend)
    rgb, depth = np.zeros((256, 320, 3), np.uint8), np.ones((256, 320), np.float32)
    before = backend.infer(rgb, depth).labels
    assert backend.name == "torch cpu fp32"
    progress: set[str] = set()

    def taken_over() -> bool:
        progress.add(backend.progress)
        np.testing.assert_array_equal(backend.infer(rgb, depth).labels, before)
        return backend.name == "tensorrt_rtx fp16"

    wait(taken_over)
    assert plans[0].is_relative_to(tmp_path)
    assert plans[0].stat().st_size > 1e6
    assert any(text.startswith("building: ") for text in progress)
    assert backend.progress == "tensorrt_rtx fp16 serves"
    assert len(heard) == 1
    assert heard[0].startswith("no CUDA device")
    backend.close()
