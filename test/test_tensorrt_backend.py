"""The TensorRT backend on a GPU that is an array: layout, copies, thread, errors and ends.

What only a GPU can show, that pycuda, CUDA graphs and TensorRT do what is asked of them, is in `test_tensorrt_gpu.py`.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import FakeEngine, FakeGpu

from asymformer_ros.engine.api import TensorInfo, TensorRt
from asymformer_ros.engine.driver import NoGpu, probe_gpu
from asymformer_ros.engine.runtime import EngineFile
from asymformer_ros.engine.session import GpuSession
from asymformer_ros.errors import AsymformerError, BackendError
from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.inference.tensorrt import TensorRtBackend, open_engine
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.models.scores import classify
from asymformer_ros.models.signature import Signature

SIZE = (32, 96)
CARD = ModelCard("tiny", label_set("nyuv2_40"), PUBLISHED_NORMALIZATION, SIZE)
RGB = np.random.default_rng(1).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
DEPTH = np.random.default_rng(2).uniform(0.4, 6.0, (3, *SIZE)).astype(np.float32)
DEPTH[:, ::5] = np.nan
PACKAGE = Path(__file__).parents[1] / "asymformer_ros"


def model_of(batch: int = 1) -> Model:
    return Model(Path("tiny"), CARD, Signature(batch))


class Opened:
    """A backend on a FakeGpu."""

    def __init__(
        self, *, batch: int = 1, gpu: FakeGpu | None = None, edit: Callable[[FakeEngine], None] | None = None
    ) -> None:
        self.gpu = gpu or FakeGpu()
        engine = FakeEngine.of_camera(self.gpu, batch, SIZE)
        if edit:
            edit(engine)
        self.backend = TensorRtBackend(
            model_of(batch),
            "tensorrt 10.3 fp16",
            lambda: GpuSession(self.gpu, lambda: engine),
        )


def test_a_frame_becomes_labels_and_confidence() -> None:
    labels, confidence = Opened().backend.infer(RGB[:1], DEPTH[:1], with_confidence=True)
    np.testing.assert_array_equal(labels, RGB[:1, ..., 0])
    np.testing.assert_array_equal(confidence, depth_bytes(DEPTH[:1])[..., 0])


def test_confidence_is_given_only_where_it_is_asked_for() -> None:
    assert Opened().backend.infer(RGB[:1], DEPTH[:1]).confidence is None


def test_one_image_alone_is_answered_alone() -> None:
    labels, confidence = Opened(batch=2).backend.infer(RGB[0], DEPTH[0], with_confidence=True)
    assert confidence is not None
    assert labels.shape == confidence.shape == SIZE
    np.testing.assert_array_equal(labels, RGB[0, ..., 0])


@pytest.mark.parametrize("batch", [1, 2])
def test_more_images_than_the_batch_are_computed_one_batch_after_the_other(batch: int) -> None:
    opened = Opened(batch=batch)
    opened.gpu.calls.clear()
    labels, confidence = opened.backend.infer(RGB, DEPTH, with_confidence=True)
    assert opened.gpu.calls.count("execute") == -(-3 // batch)
    np.testing.assert_array_equal(labels, RGB[..., 0])
    np.testing.assert_array_equal(confidence, depth_bytes(DEPTH)[..., 0])


@pytest.mark.parametrize("images", [1, 2, 3])
def test_fewer_images_than_the_batch_are_filled_up_and_the_answer_is_cut(images: int) -> None:
    opened = Opened(batch=3)
    opened.backend.infer(RGB, DEPTH)  # leaves three images in the input
    labels, confidence = opened.backend.infer(RGB[:images], DEPTH[:images], with_confidence=True)
    assert confidence is not None
    assert labels.shape == confidence.shape == (images, *SIZE)
    np.testing.assert_array_equal(labels, RGB[:images, ..., 0])
    inputs = opened.backend._session.inputs  # type: ignore[union-attr]
    assert not inputs["rgb"][images:].any()
    assert not inputs["depth"][images:].any()


@pytest.mark.parametrize("can_capture", [True, False])
def test_a_frame_is_one_upload_one_run_one_download(can_capture: bool) -> None:
    opened = Opened(gpu=FakeGpu(can_capture=can_capture))
    opened.gpu.calls.clear()
    opened.backend.infer(RGB[:1], DEPTH[:1], with_confidence=True)
    assert opened.gpu.calls == [*["launch"] * can_capture, "upload", "execute", "download", "synchronise"]


def test_there_is_one_block_of_memory_each_way() -> None:
    calls = Opened().gpu.calls
    assert (calls.count("pinned"), calls.count("allocate")) == (2, 2)


def test_a_capture_comes_after_a_run_that_is_waited_for() -> None:
    calls = Opened().gpu.calls
    ran = ["upload", "execute", "download", "synchronise", "keep_compiled"]
    assert calls[calls.index("upload") : calls.index("capture")] == ran


def test_each_tensor_starts_at_a_multiple_of_256_bytes() -> None:
    gpu = FakeGpu()
    odd = TensorInfo("odd", (1, 3), "UINT8")
    engine = FakeEngine(gpu, (odd, TensorInfo("next", (1, 4), "FLOAT")), FakeEngine.of_camera(gpu, 1, SIZE).outputs)
    engine.enqueue = lambda stream: None  # type: ignore[method-assign]
    session = GpuSession(gpu, lambda: engine)
    assert engine.addresses["next"] - engine.addresses["odd"] == 256
    assert all(address % 256 == 0 for address in engine.addresses.values())
    assert (session.inputs["next"].dtype, session.inputs["next"].shape) == (np.float32, (1, 4))


def test_without_a_graph_the_reason_is_a_warning_and_it_serves_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    opened = Opened(gpu=FakeGpu(can_capture=False))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "no CUDA graph, each step is launched by itself: cuStreamEndCapture failed with CUDA error 901")
    ]
    np.testing.assert_array_equal(opened.backend.infer(RGB[:1], DEPTH[:1]).labels, RGB[:1, ..., 0])


def test_an_engine_that_cannot_be_captured_is_not_captured(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(engine: FakeEngine) -> None:
        engine.reason = "it compiles while it runs"

    opened = Opened(edit=refuse)
    assert "capture" not in opened.gpu.calls
    assert caplog.messages == ["no CUDA graph, each step is launched by itself: it compiles while it runs"]


def test_all_work_is_done_by_one_thread_whoever_calls() -> None:
    opened = Opened()
    answers: list[np.ndarray] = []

    def call() -> None:
        answers.extend(opened.backend.infer(RGB[:1], DEPTH[:1]).labels for _ in range(5))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    opened.backend.close()
    assert len(answers) == 20
    assert all(np.array_equal(labels, RGB[0:1, ..., 0]) for labels in answers)
    assert len(opened.gpu.threads) == 1
    assert threading.get_ident() not in opened.gpu.threads


def test_a_close_while_others_call_leaves_each_with_an_answer_or_an_error() -> None:
    opened, outcomes = Opened(), list[str]()

    def call() -> None:
        try:
            while True:
                assert np.array_equal(opened.backend.infer(RGB[0], DEPTH[0]).labels, RGB[0, ..., 0])
        except BackendError as error:
            outcomes.append(str(error))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    opened.backend.close()
    for caller in callers:
        caller.join()
    assert len(outcomes) == 4
    assert all("is closed" in told or "cannot work" in told for told in outcomes)
    assert (opened.gpu.closed, opened.gpu.entered) == (1, 0)


def test_the_answer_belongs_to_the_caller() -> None:
    backend = Opened().backend
    first = backend.infer(RGB[:1], DEPTH[:1]).labels
    backend.infer(RGB[1:2], DEPTH[1:2])
    np.testing.assert_array_equal(first, RGB[:1, ..., 0])


def test_close_frees_everything_once_and_ends_the_thread() -> None:
    before = set(threading.enumerate())
    opened = Opened()
    opened.backend.close()
    opened.backend.close()
    assert (opened.gpu.closed, opened.gpu.entered, opened.gpu.blocks) == (1, 0, {})
    assert opened.gpu.calls.count("close_engine") == 1
    assert set(threading.enumerate()) <= before
    with pytest.raises(BackendError, match="tensorrt 10.3 fp16 cannot work"):
        opened.backend.infer(RGB[:1], DEPTH[:1])


@pytest.mark.parametrize("step", ["upload", "execute", "download", "synchronise"])
def test_an_error_of_the_gpu_is_told_and_the_backend_can_still_be_closed(step: str) -> None:
    opened = Opened()
    opened.gpu.fails_in = step
    with pytest.raises(BackendError, match=f"the GPU failed: {step} failed: an illegal memory access"):
        opened.backend.infer(RGB[:1], DEPTH[:1])
    opened.backend.close()
    assert opened.gpu.closed == 1


@pytest.mark.parametrize("step", ["pinned", "allocate", "upload", "execute", "synchronise"])
def test_an_engine_ends_in_its_context_and_on_its_thread_where_opening_fails(step: str) -> None:
    gpu = FakeGpu()
    gpu.fails_in = step
    with pytest.raises(BackendError) as caught:  # whose traceback still holds every frame
        Opened(gpu=gpu)
    assert caught.value.__traceback__ is not None
    assert gpu.calls.count("close_engine") == 1  # which FakeGpu takes within its context alone
    assert len(gpu.threads) == 1
    assert gpu.closed == 1


@pytest.mark.parametrize("step", ["pinned", "allocate", "upload", "execute"])
def test_what_was_opened_is_freed_where_opening_fails(step: str) -> None:
    before, gpu = set(threading.enumerate()), FakeGpu()
    gpu.fails_in = step
    with pytest.raises(BackendError, match=f"{step} failed"):
        Opened(gpu=gpu)
    assert (gpu.closed, gpu.entered) == (1, 0)
    assert set(threading.enumerate()) <= before


def test_an_engine_that_cannot_be_loaded_is_told_and_freed() -> None:
    gpu = FakeGpu()

    def load() -> FakeEngine:
        raise BackendError("tensorrt 10.3 cannot load the engine: build it again")

    with pytest.raises(BackendError, match="build it again"):
        TensorRtBackend(model_of(), "tensorrt", lambda: GpuSession(gpu, load))
    assert gpu.closed == 1


def test_an_engine_of_another_model_is_refused() -> None:
    gpu = FakeGpu()
    engine = FakeEngine.of_camera(gpu, 2, (32, 32))
    with pytest.raises(BackendError, match=r"takes .*\(2, 32, 32, 3\).* but the model takes .*\(1, 32, 96, 3\)"):
        TensorRtBackend(model_of(), "tensorrt", lambda: GpuSession(gpu, lambda: engine))
    assert gpu.closed == 1


@pytest.mark.parametrize("tensor", [TensorInfo("x", (-1, 3), "UINT8"), TensorInfo("x", (1, 3), "FP8")])
def test_a_tensor_without_a_fixed_size_or_known_type_is_refused(tensor: TensorInfo) -> None:
    gpu = FakeGpu()
    engine = FakeEngine(gpu, (tensor,), ())
    with pytest.raises(BackendError, match="tensor x is .* expected a fixed size"):
        GpuSession(gpu, lambda: engine)


@pytest.mark.parametrize(
    ("rgb", "depth", "told"),
    [
        (RGB[:1, :16], DEPTH[:1, :16], r"\(1, 16, 96, 3\).*expected \(32, 96, 3\)"),
        (RGB[:1], DEPTH[:2], "expected"),
        (RGB[:0], DEPTH[:0], "input holds no image"),
    ],
)
def test_another_size_or_number_of_images_is_refused(rgb: np.ndarray, depth: np.ndarray, told: str) -> None:
    with pytest.raises(BackendError, match=told):
        Opened(batch=2).backend.infer(rgb, depth)


def test_class_scores_become_labels() -> None:
    gpu = FakeGpu()
    inputs = FakeEngine.of_camera(gpu, 1, SIZE).inputs
    engine = FakeEngine(gpu, inputs, (TensorInfo("out", (1, 4, *SIZE), "FLOAT"),))
    model = Model(Path("theirs.onnx"), CARD, Signature(outputs=("out",)))
    backend = TensorRtBackend(model, "tensorrt", lambda: GpuSession(gpu, lambda: engine))
    labels, confidence = backend.infer(RGB[:1], DEPTH[:1], with_confidence=True)
    logits = np.dstack((RGB[0], depth_bytes(DEPTH[0])[..., 0])).transpose(2, 0, 1).astype(np.float32)
    expected, share = classify(logits, SIZE, with_confidence=True)
    np.testing.assert_array_equal(labels, expected[None])
    np.testing.assert_array_equal(confidence, share[None])  # type: ignore[index]
    assert backend.infer(RGB[:1], DEPTH[:1]).confidence is None


def test_class_scores_are_smoothed_where_it_is_asked_for_and_labels_cannot_be() -> None:
    gpu = FakeGpu()
    engine = FakeEngine(gpu, FakeEngine.of_camera(gpu, 2, SIZE).inputs, (TensorInfo("out", (2, 4, *SIZE), "FLOAT"),))
    model = Model(Path("theirs.onnx"), CARD, Signature(2, outputs=("out",)))
    backend = TensorRtBackend(model, "tensorrt", lambda: GpuSession(gpu, lambda: engine))
    streams = [TemporalSmoothing() for _ in range(3)]
    np.testing.assert_array_equal(backend.infer(RGB, DEPTH, smoothing=streams).labels, backend.infer(RGB, DEPTH).labels)
    assert all(stream.applied for stream in streams)
    labels_alone = TemporalSmoothing()
    Opened().backend.infer(RGB[:1], DEPTH[:1], smoothing=[labels_alone])
    assert not labels_alone.applied


def test_without_a_gpu_opening_says_so_and_touches_no_tensorrt(tmp_path: Path) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    file = EngineFile(tmp_path / "engine.plan", TensorRt("tensorrt", "10.3.0", None), "fp16")
    file.plan.touch()
    with pytest.raises(AsymformerError, match="running engines needs pycuda|the GPU cannot be used"):
        open_engine(file, model_of())
    assert file.name == "tensorrt 10.3 fp16"


def test_pycuda_is_imported_in_one_module() -> None:
    importers = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importers |= {path.name for name in names if name.split(".")[0] == "pycuda"}
            assert not any(name == "pycuda.autoinit" for name in names)
    assert importers == {"cuda.py"}
