"""How an engine is run in each version of TensorRT, against a stand-in with that version's own names."""

from __future__ import annotations

import pytest
from fake_tensorrt import KNOWN, FakeTensorRt

from asymformer_ros.engine.api import Library, TensorInfo
from asymformer_ros.engine.runtime import LoadedEngine
from asymformer_ros.errors import BackendError

VERSIONS = sorted(set().union(*KNOWN.values()))


def load(trt: FakeTensorRt, plan: bytes = b"plan", log: list[str] | None = None) -> LoadedEngine:
    told = [] if log is None else log
    return LoadedEngine(Library("tensorrt", trt.__version__, trt), plan, told.append)


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


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_that_cannot_be_loaded_is_refused(version: str) -> None:
    with pytest.raises(BackendError, match=f"tensorrt {version} cannot load the engine: build it again"):
        load(FakeTensorRt(version, []), b"of another version")


def test_no_execution_context_is_told() -> None:
    trt = FakeTensorRt("10.3.0", [])
    trt.context = None
    with pytest.raises(BackendError, match="cannot get the engine ready: enough GPU memory"):
        load(trt)


def test_what_fails_is_told_with_the_librarys_last_error() -> None:
    trt = FakeTensorRt("10.3.0", [])
    engine = load(trt)
    trt.works = False
    trt.logger.log("Severity.ERROR", "Cask error: no kernel image is available ")
    with pytest.raises(BackendError, match=r"cannot run the engine \(Cask error: no kernel image is available\)"):
        engine.enqueue(77)
    with pytest.raises(BackendError, match="refuses the address of rgb"):
        engine.bind("rgb", 4096)


def test_warnings_are_passed_on_and_chatter_is_not() -> None:
    trt, log = FakeTensorRt("11.4.0.106", []), list[str]()
    load(trt, log=log)
    trt.logger.log("Severity.WARNING", "CUDA lazy loading is not enabled\n")
    trt.logger.log("Severity.VERBOSE", "Using cuDNN")
    assert log == ["CUDA lazy loading is not enabled"]
