"""How an engine is run in each version of TensorRT, against a stand-in with that version's own names."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fake_gpu import FakeGpu
from fake_tensorrt import KNOWN, RTX, FakeTensorRt

from asymformer_ros.engine.api import TensorInfo, TensorRt
from asymformer_ros.engine.runtime import TensorRtEngine, shared_runtime
from asymformer_ros.engine.session import GpuSession
from asymformer_ros.errors import BackendError

VERSIONS = sorted(set().union(*KNOWN.values()))
ENDS = [("end", "IExecutionContext"), ("end", "ICudaEngine")]


def load(trt: FakeTensorRt, plan: bytes = b"plan", kernels: Path | None = None) -> TensorRtEngine:
    return TensorRtEngine(library(trt), plan, kernels)


def library(trt: FakeTensorRt) -> TensorRt:
    return TensorRt("tensorrt", trt.__version__, trt)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_run_by_its_named_tensors(version: str) -> None:
    trt = FakeTensorRt(version, [])
    engine = load(trt)
    assert engine.inputs == (TensorInfo("rgb", (1, 8, 8, 3), "UINT8"),)
    assert engine.outputs == ()
    engine.bind("rgb", 4096)
    engine.enqueue(77)
    assert trt.calls == [("set_tensor_address", "rgb", 4096), ("execute_async_v3", 77)]
    assert engine.why_not_captured(77) == ""
    engine.keep_compiled()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_that_cannot_be_loaded_is_refused(version: str) -> None:
    with pytest.raises(BackendError, match=f"tensorrt {version} cannot load the engine: build it again"):
        load(FakeTensorRt(version, []), b"of another version")


def test_closing_ends_the_context_and_then_the_engine() -> None:
    trt = FakeTensorRt("10.3.0", [])
    engine = load(trt)
    engine.close()
    engine.close()
    assert trt.calls == ENDS


def test_an_engine_that_has_no_memory_ends_before_the_gpus_context_though_its_error_lives_on() -> None:
    trt, gpu = FakeTensorRt("10.3.0", []), FakeGpu()
    trt.has_context = False
    ended: list[list[object]] = []
    gpu.close = lambda: ended.append(list(trt.calls))  # type: ignore[method-assign]
    with pytest.raises(BackendError, match="cannot get the engine ready: enough GPU memory") as caught:
        GpuSession(gpu, lambda: load(trt))
    assert caught.value.__traceback__ is not None
    assert ended == [ENDS[1:]]


@pytest.mark.parametrize("step", ["pinned", "allocate", "upload"])
def test_an_engine_that_is_loaded_ends_before_the_gpus_context_where_opening_fails(step: str) -> None:
    trt, gpu = FakeTensorRt("10.3.0", []), FakeGpu()
    gpu.fails_in = step
    ended: list[list[object]] = []
    gpu.close = lambda: ended.append([call for call in trt.calls if call in ENDS])  # type: ignore[method-assign]
    with pytest.raises(BackendError, match=f"{step} failed") as caught:
        GpuSession(gpu, lambda: load(trt))
    assert caught.value.__traceback__ is not None
    assert ended == [ENDS]


def test_the_runtime_is_made_once_in_a_process() -> None:
    trt = FakeTensorRt("10.3.0", [])
    shared_runtime(library(trt))
    for _ in range(3):
        load(trt).close()
    assert trt.runtimes == 1


def test_a_runtime_that_cannot_be_made_is_told() -> None:
    trt = FakeTensorRt("10.3.0", [])

    def refuse(_logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt.Runtime = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(BackendError, match=r"tensorrt 10.3.0 cannot start: is the NVIDIA driver new enough"):
        load(trt)


def test_what_fails_is_told_with_the_librarys_last_error_once() -> None:
    trt = FakeTensorRt("10.3.0", [])
    engine = load(trt)
    trt.works = False
    trt.logger.log("Severity.ERROR", "Cask error: no kernel image is available ")
    with pytest.raises(BackendError, match=r"cannot run the engine \(Cask error: no kernel image is available\)"):
        engine.enqueue(77)
    with pytest.raises(BackendError, match="refuses the address of rgb$"):
        engine.bind("rgb", 4096)


def test_warnings_are_logged_and_chatter_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    trt = FakeTensorRt("11.4.0.106", [])
    load(trt)
    trt.logger.log("Severity.WARNING", "CUDA lazy loading is not enabled\n")
    trt.logger.log("Severity.VERBOSE", "Using cuDNN")
    assert caplog.messages == ["TensorRT: CUDA lazy loading is not enabled"]


@pytest.fixture
def rtx() -> FakeTensorRt:
    pytest.importorskip(RTX, reason="its names are needed")
    return FakeTensorRt(RTX, [])


def test_kernels_that_tensorrt_rtx_has_compiled_are_kept_beside_the_plan(rtx: FakeTensorRt, tmp_path: Path) -> None:
    kernels = tmp_path / "kernels.bin"
    load(rtx, kernels=kernels).keep_compiled()
    assert ("deserialize", b"kernel") not in rtx.calls
    assert kernels.read_bytes() == b"kernel"
    again = FakeTensorRt(RTX, [])
    load(again, kernels=kernels)
    assert again.calls[:2] == [("deserialize", b"kernel"), ("set_runtime_cache",)]


def test_kernels_of_another_driver_are_compiled_again(
    rtx: FakeTensorRt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kernels = tmp_path / "kernels.bin"
    kernels.write_bytes(b"other")
    load(rtx, kernels=kernels).keep_compiled()
    assert kernels.read_bytes() == b"kernel"
    assert "kernels are compiled again" in caplog.text


def test_kernels_that_cannot_be_kept_are_no_fault(
    rtx: FakeTensorRt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "kernels.bin").mkdir()
    load(rtx, kernels=tmp_path / "kernels.bin").keep_compiled()
    assert "kernels.bin cannot be written (Is a directory)" in caplog.text
