"""A GPU that is lost for good: the CPU serves where it may, and else the process is to end."""

from __future__ import annotations

import pytest
from test_upgrading import DEPTH, RGB, ConstantBackend

from asymformer_ros.errors import BackendError
from asymformer_ros.inference.last_resort import STICKY, GpuLostError, LastResortBackend

ILLEGAL = "the GPU failed: an illegal memory access was encountered"


def label_of(backend: LastResortBackend) -> int:
    return int(backend.infer(RGB, DEPTH).labels[0, 0])


def test_after_several_failures_in_a_row_the_cpu_serves_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    gpu, cpu = ConstantBackend("torch cuda fp16", 1), ConstantBackend("torch cpu fp32", 2)
    backend = LastResortBackend(gpu, lambda: cpu)
    assert (label_of(backend), backend.name) == (1, "torch cuda fp16")
    gpu.fault = ILLEGAL
    for _ in range(STICKY - 1):
        with pytest.raises(BackendError, match="illegal memory access"):
            label_of(backend)
    assert (label_of(backend), backend.name) == (2, "torch cpu fp32")
    assert gpu.closed
    told = f"it has failed {STICKY} times in a row, torch cpu fp32 serves; start this process again to use the GPU"
    assert caplog.messages == [f"{ILLEGAL}: {told}"]
    backend.close()
    assert cpu.closed


def test_a_failure_that_passes_costs_its_image_alone() -> None:
    gpu = ConstantBackend("torch cuda fp16", 1)
    backend = LastResortBackend(gpu, lambda: ConstantBackend("torch cpu fp32", 2))
    for _ in range(3 * STICKY):
        gpu.fault = "out of memory"
        with pytest.raises(BackendError):
            label_of(backend)
        gpu.fault = ""
        assert label_of(backend) == 1


def test_a_gpu_that_is_lost_cannot_even_be_closed() -> None:
    class Dead(ConstantBackend):
        def close(self) -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    gpu = Dead("torch cuda fp16", 1)
    gpu.fault = ILLEGAL
    backend = LastResortBackend(gpu, lambda: ConstantBackend("torch cpu fp32", 2))
    for _ in range(STICKY - 1):
        with pytest.raises(BackendError):
            label_of(backend)
    assert label_of(backend) == 2


def test_where_nothing_else_may_serve_it_says_that_the_process_is_to_end() -> None:
    engine = ConstantBackend("tensorrt fp16", 1)
    engine.fault = ILLEGAL
    backend = LastResortBackend(engine, None)
    for _ in range(STICKY - 1):
        with pytest.raises(BackendError, match="illegal memory access was encountered$"):
            label_of(backend)
    for _ in range(2):
        with pytest.raises(GpuLostError, match="nothing else may serve: start this process again"):
            label_of(backend)
