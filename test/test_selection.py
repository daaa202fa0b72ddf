"""Which backend serves, and how the engine takes over from it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the models of these tests are bundles")

from asymformer_ros.engine import request as engine_request
from asymformer_ros.engine import runtime as engine_runtime
from asymformer_ros.engine.context import BuildContext, BuildProgress
from asymformer_ros.engine.driver import GpuInfo, probe_gpu
from asymformer_ros.engine.runtime import EngineFile
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.inference import selection, tensorrt
from asymformer_ros.inference.backend import InferenceBackend, Prediction
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import engine_obstacle, open_serving
from asymformer_ros.inference.torch import TorchBackend
from asymformer_ros.inference.upgrading import UpgradingBackend
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.model import Model

GPU = GpuInfo("Orin", (8, 7), (12, 6))
without_gpu = pytest.mark.skipif(isinstance(probe_gpu(), GpuInfo), reason="says what happens without a GPU")


def wait(condition: Callable[[], bool], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@without_gpu
@pytest.mark.parametrize("wait_for_engine", [False, True])
def test_auto_without_a_driver_says_so_and_serves_with_pytorch(
    wait_for_engine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_serving("untrained", ServingOptions(wait=wait_for_engine))
    assert backend.name == "torch cpu fp32"
    assert "no TensorRT engine: no NVIDIA driver" in caplog.messages[0]
    backend.close()


@without_gpu
def test_tensorrt_by_name_without_a_driver_is_an_error_that_says_what_to_use() -> None:
    with pytest.raises(BackendError, match="no engine can run here: no NVIDIA driver.*auto finds what can"):
        open_serving("untrained", ServingOptions(backend="tensorrt"))


def test_a_gpu_without_the_libraries_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert engine_obstacle(GPU).startswith("tensorrt, pycuda, onnx not installed")


def test_the_gpu_is_probed_once_and_the_model_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the builder refuses, and with the fallback serving."""
    probed, opened = list[str](), list[str]()
    open_model = selection.open_model

    def refuse(choice: str, gpu: object) -> None:
        raise BackendError("this is as far as the test goes")

    monkeypatch.setattr(selection, "probe_gpu", lambda: probed.append("gpu") or GPU)
    monkeypatch.setattr(selection, "engine_obstacle", lambda gpu: "")
    monkeypatch.setattr(engine_request, "choose_builder", refuse)
    monkeypatch.setattr(selection, "open_model", lambda name, **given: opened.append(name) or open_model(name, **given))
    backend = open_serving("untrained")
    wait(lambda: backend.progress == "none: this is as far as the test goes")  # type: ignore[attr-defined]
    backend.close()
    assert (probed, opened) == (["gpu"], ["untrained"])


def test_the_runtime_is_made_before_the_first_frame_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    done = list[str]()
    monkeypatch.setattr(selection, "probe_gpu", lambda: GPU)
    monkeypatch.setattr(selection, "engine_obstacle", lambda gpu: "")
    monkeypatch.setattr(engine_request, "choose_builder", lambda choice, gpu: "library")
    monkeypatch.setattr(engine_runtime, "shared_runtime", lambda library: done.append(f"runtime of {library}"))
    monkeypatch.setattr(selection, "UpgradingBackend", lambda fallback, make: done.append("serving") or fallback())
    open_serving("untrained").close()
    assert done == ["runtime of library", "serving"]


def test_where_the_engine_fails_one_who_waits_gets_the_next_best_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(choice: str, gpu: object) -> None:
        raise BackendError("the builder failed")

    monkeypatch.setattr(selection, "engine_obstacle", lambda gpu: "")
    monkeypatch.setattr(engine_request, "choose_builder", refuse)
    backend = open_serving("untrained", ServingOptions(device="cpu", wait=True))
    assert backend.name == "torch cpu fp32"
    assert caplog.messages[0] == "no TensorRT engine: the builder failed"
    backend.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"backend": "openvino"}, "'openvino': expected one of auto, torch"),
        ({"precision": "int4"}, "'int4': expected one of auto, fp16"),
        (
            {"precision": "int8", "device": "cuda"},
            "'int8', in which nothing computes with backend 'auto' and device 'cuda'",
        ),
        ({"precision": "bf16", "backend": "tensorrt"}, "'bf16', in which nothing computes with backend 'tensorrt'"),
        ({"precision": "bf16", "backend": "onnxruntime", "device": "cuda"}, "'bf16', in which nothing computes"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ServingOptions(**options)  # type: ignore[arg-type]


class Engine:
    """Stands in for an engine that runs, which needs a GPU; it was really built."""

    def __init__(self, served: InferenceBackend) -> None:
        self.name, self.card, self._served = "tensorrt_rtx fp16", served.card, served

    def infer(
        self, rgb: np.ndarray, depth: np.ndarray, *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        return self._served.infer(rgb, depth, with_confidence=with_confidence)

    def close(self) -> None:
        self._served.close()


@pytest.mark.slow
def test_an_engine_is_really_built_beside_pytorch_and_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="builds without a GPU")
    plans: list[Path] = []

    def run_engine(file: EngineFile, model: Model) -> Engine:
        plans.append(file.plan)
        return Engine(TorchBackend.open(model, "cpu"))

    if isinstance(probe_gpu(), GpuInfo):
        pytest.skip("with a GPU the engine would be verified: test_gpu runs it")
    monkeypatch.setattr(selection, "engine_obstacle", lambda gpu: "")
    monkeypatch.setattr(tensorrt, "open_engine", run_engine)
    progress: list[str] = []
    report = BuildContext.report

    def recorded(context: BuildContext, told: BuildProgress | str) -> None:
        report(context, told)
        progress.append(context.progress)

    monkeypatch.setattr(BuildContext, "report", recorded)
    counts: Counter[str] = Counter()

    def counted(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: counts.update([what]) or function(*given, **named)

    monkeypatch.setattr(selection, "probe_gpu", counted("probed", selection.probe_gpu))
    monkeypatch.setattr(selection, "open_model", counted("opened", selection.open_model))
    monkeypatch.setattr(engine_request, "choose_builder", counted("builder chosen", engine_request.choose_builder))
    monkeypatch.setattr(ModelBundle, "sha256", property(counted("hashed", ModelBundle.sha256.fget)))
    backend = open_serving("untrained", ServingOptions(device="cpu", engine_cache=str(tmp_path)))
    assert isinstance(backend, UpgradingBackend)
    rgb, depth = np.zeros((256, 320, 3), np.uint8), np.ones((256, 320), np.float32)
    before = backend.infer(rgb, depth).labels
    assert backend.name == "torch cpu fp32"

    def taken_over() -> bool:
        np.testing.assert_array_equal(backend.infer(rgb, depth).labels, before)
        return backend.name == "tensorrt_rtx fp16"

    wait(taken_over)
    assert counts == {"probed": 1, "opened": 1, "builder chosen": 1, "hashed": 1}
    assert plans[0].is_relative_to(tmp_path)
    assert plans[0].stat().st_size > 1e6
    assert any(text.startswith("building: Preparing the graph 0/1, ") for text in progress)
    assert any(text.startswith("building: Building engine ") for text in progress)
    assert backend.progress == "tensorrt_rtx fp16 serves"
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []
    backend.close()


def test_closing_while_the_model_is_exported_ends_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="builds without a GPU")
    monkeypatch.setattr(selection, "engine_obstacle", lambda gpu: "")
    backend = open_serving("untrained_full", ServingOptions(device="cpu", engine_cache=str(tmp_path)))
    assert isinstance(backend, UpgradingBackend)
    wait(lambda: backend.progress.startswith("building: Preparing the graph"))
    start = time.monotonic()
    backend.close()
    assert time.monotonic() - start < 3


def test_loading_that_waits_for_the_engine_is_cancelled_from_another_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="builds without a GPU")
    monkeypatch.setattr(selection, "engine_obstacle", lambda gpu: "")
    options, context = ServingOptions(backend="tensorrt", engine_cache=str(tmp_path)), BuildContext()
    errors: list[BaseException] = []

    def load() -> None:
        try:
            open_serving("untrained_full", options, context)
        except BackendError as error:
            errors.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    wait(lambda: context.progress.startswith("building: "))
    start = time.monotonic()
    context.cancel()
    loading.join(10)
    assert time.monotonic() - start < 3
    assert [str(error) for error in errors] == ["the engine build was cancelled"]
