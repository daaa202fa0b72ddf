"""The TensorRT backend on a real GPU: what the stand-ins of `test_tensorrt_backend.py` cannot show."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(0)]
for library in ("torch", "onnx"):
    pytest.importorskip(library, reason=f"building an engine of the untrained network needs {library}")

from asymformer_ros.engine.api import TensorRt, installed_builders
from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.driver import NoGpu, probe_gpu
from asymformer_ros.engine.golden import golden_frames
from asymformer_ros.engine.provide import provide_engine
from asymformer_ros.engine.request import EngineRequest, choose_builder
from asymformer_ros.engine.runtime import EngineFile
from asymformer_ros.engine.verify import MIN_AGREEMENT
from asymformer_ros.errors import BackendError
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.tensorrt import TensorRtBackend, open_engine
from asymformer_ros.models.opening import open_model

MODEL = "demo"

Open = Callable[..., TensorRtBackend]


@pytest.fixture(scope="module")
def library() -> TensorRt:
    if importlib.util.find_spec("pycuda") is None or not installed_builders():
        pytest.skip("needs pycuda, and TensorRT or TensorRT-RTX")
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu):
        pytest.skip(f"there is {gpu}")
    return choose_builder("auto", gpu)


@pytest.fixture(scope="module")
def opener(library: TensorRt, tmp_path_factory: pytest.TempPathFactory) -> Open:
    kept = os.environ.get("ASYMFORMER_TEST_ENGINES")  # of gpu_check: a second run builds nothing again
    folder = Path(kept) if kept else tmp_path_factory.mktemp("engines")
    models, gpu = {batch: open_model(MODEL, batch=batch) for batch in (1, 2)}, probe_gpu()
    assert not isinstance(gpu, NoGpu)

    @cache
    def plan(precision: str, batch: int) -> Path:
        request = EngineRequest(models[batch], library, gpu, precision, only=True)
        return provide_engine(EngineCache(folder), request, BuildContext(timeout=float("inf"))).plan

    def open_(precision: str = "fp16", batch: int = 1, use_graph: bool = True) -> TensorRtBackend:
        file = EngineFile(plan(precision, batch), library, precision)
        return open_engine(file, models[batch], use_graph=use_graph)

    return open_


@pytest.fixture(scope="module")
def frames() -> tuple[np.ndarray, np.ndarray]:
    """rgb (4, h, w, 3) and depth (4, h, w)."""
    pairs = golden_frames(open_model(MODEL).card.input_size)
    return np.stack([rgb for rgb, _ in pairs]), np.stack([depth for _, depth in pairs])


@pytest.mark.parametrize(("precision", "expected"), [("fp32", 0.999), ("fp16", MIN_AGREEMENT)])
def test_an_engine_agrees_with_fp32_on_the_cpu(
    opener: Open, frames: tuple[np.ndarray, np.ndarray], precision: str, expected: float
) -> None:
    """FP32 does so only without TF32, which has no more digits than FP16: with it 99.70 % were simulated."""
    reference = open_backend("torch", MODEL, "cpu").infer(*frames, with_confidence=True)
    backend = opener(precision)
    found = backend.infer(*frames, with_confidence=True)
    backend.close()
    assert np.mean(found.labels == reference.labels) >= expected
    assert found.confidence is not None
    assert reference.confidence is not None
    assert found.confidence.all()
    np.testing.assert_allclose(found.confidence.astype(int), reference.confidence, atol=6)


def test_a_cuda_graph_answers_as_single_launches_do(
    opener: Open, frames: tuple[np.ndarray, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    answers = []
    for use_graph in (True, False):
        backend = opener(use_graph=use_graph)
        answers.append([backend.infer(*frames, with_confidence=True) for _ in range(3)])
        backend.close()
    assert not [text for text in caplog.messages if text.startswith("no CUDA graph")]
    for graphed, plain in zip(*answers, strict=True):
        np.testing.assert_array_equal(graphed.labels, plain.labels)
        np.testing.assert_array_equal(graphed.confidence, plain.confidence)


def test_an_engine_of_two_images_answers_as_one_of_one(opener: Open, frames: tuple[np.ndarray, np.ndarray]) -> None:
    rgb, depth = frames[0][:3], frames[1][:3]  # a full batch and a half
    alone, together = opener(batch=1), opener(batch=2)
    assert np.mean(alone.infer(rgb, depth).labels == together.infer(rgb, depth).labels) > 0.98
    alone.close()
    together.close()


def test_it_serves_beside_pytorch_on_the_same_gpu(opener: Open, frames: tuple[np.ndarray, np.ndarray]) -> None:
    torch_backend = open_backend("torch", MODEL, "cuda")
    backend = opener()
    first = backend.infer(*frames).labels
    for _ in range(20):
        torch_backend.infer(*frames)
        np.testing.assert_array_equal(backend.infer(*frames).labels, first)
    backend.close()
    torch_backend.infer(*frames)  # the context that both use is still there
    torch_backend.close()


def test_an_opening_that_runs_out_of_memory_leaves_the_gpu_as_it_was(
    opener: Open, frames: tuple[np.ndarray, np.ndarray]
) -> None:
    import torch

    opener().close()  # builds it, and loads what every opening needs
    before, _ = torch.cuda.mem_get_info()
    hog = torch.empty(max(before - (16 << 20), 1), dtype=torch.uint8, device="cuda")
    for _ in range(3):
        with pytest.raises(BackendError):
            opener()
    del hog
    torch.cuda.empty_cache()
    after, _ = torch.cuda.mem_get_info()
    assert before - after < 64 << 20
    backend = opener()
    backend.infer(frames[0][0], frames[1][0])
    backend.close()


def test_a_thousand_openings_leave_nothing_behind(opener: Open, frames: tuple[np.ndarray, np.ndarray]) -> None:
    psutil = pytest.importorskip("psutil", reason="measuring memory needs psutil")
    import torch

    def cycles(count: int) -> tuple[int, int]:
        for _ in range(count):
            backend = opener()
            backend.infer(frames[0][0], frames[1][0])
            backend.close()
        free, total = torch.cuda.mem_get_info()
        return total - free, psutil.Process().memory_info().rss

    gpu_before, host_before = cycles(20)
    gpu_after, host_after = cycles(1000)
    assert gpu_after - gpu_before < 64 << 20
    assert host_after - host_before < 128 << 20
