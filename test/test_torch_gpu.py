"""PyTorch on a GPU: buffers, CUDA graphs, lower precision; on a stand-in for CUDA, and on a GPU where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="runs on a GPU through PyTorch")
from fake_torch_gpu import FakeTorchGpu

from asymformer_ros.engine.golden import golden_frames
from asymformer_ros.errors import BackendError
from asymformer_ros.inference import torch as torch_backend
from asymformer_ros.inference import torch_gpu
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.last_resort import LastResortBackend
from asymformer_ros.inference.processing import classify_all
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.inference.torch import TorchBackend
from asymformer_ros.inference.torch_gpu import Cuda, GpuNetwork, labels_and_confidence
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.opening import open_model
from asymformer_ros.network import ROOMS, SMALL, AsymFormerConfig

SIZE = (64, 96)
CPU = torch.device("cpu")
RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
DEPTH = RNG.uniform(0.4, 6.0, (3, *SIZE)).astype(np.float32)
FIRST = ["synchronise", "pinned", "pinned", "aside", "record", "replay"]
LATER = ["synchronise", "replay", "synchronise"]


def made(config: AsymFormerConfig = SMALL) -> Model:
    """Of random weights, whose labels differ from place to place."""
    bundle = ModelBundle.untrained(config, label_set("nyuv2_40"), input_size=SIZE)
    bundle.network.decoder.classify.weight.data *= 200
    return Model(Path("m.safetensors"), bundle.card, bundle=bundle)


@pytest.fixture(scope="module")
def model() -> Model:
    return made()


@pytest.fixture(scope="module")
def plain(model: Model) -> TorchBackend:
    """On the CPU, contiguous, FP32."""
    return TorchBackend.open(model, "cpu")


def assert_same(found: Prediction, expected: Prediction) -> None:
    assert np.mean(found.labels == expected.labels) > 0.999
    assert found.confidence is not None
    assert expected.confidence is not None
    np.testing.assert_allclose(found.confidence.astype(int), expected.confidence, atol=1)


@pytest.mark.parametrize("config", [SMALL, ROOMS], ids=["convnext", "efficientnet"])
def test_channels_last_the_network_answers_as_contiguous(config: AsymFormerConfig) -> None:
    model = made(config)
    backend = TorchBackend(model, CPU, torch.float32, FakeTorchGpu())
    weights = [weight for weight in backend._network.parameters() if weight.ndim == 4 and min(weight.shape[1:]) > 1]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    expected, found = (one.logits4(RGB[:1], DEPTH[:1]) for one in (TorchBackend.open(model, "cpu"), backend))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4 * float(expected.abs().max()))
    assert backend.name == "torch cpu fp32"  # all of it could be recorded


def test_a_shape_is_recorded_once_and_each_frame_gets_its_own_answer(model: Model, plain: TorchBackend) -> None:
    gpu = FakeTorchGpu()
    backend = TorchBackend(model, CPU, torch.float32, gpu)
    answers = []
    for index in range(3):
        gpu.calls.clear()
        answers.append(backend.infer(RGB[index], DEPTH[index], with_confidence=True))
        assert gpu.calls == ([*FIRST, "pinned", "synchronise"] if index == 0 else LATER)
    for index, answer in enumerate(answers):
        assert_same(answer, plain.infer(RGB[index], DEPTH[index], with_confidence=True))
    assert np.mean(answers[0].labels == answers[1].labels) < 0.9  # so that an old answer would be seen
    gpu.calls.clear()
    assert_same(backend.infer(RGB, DEPTH, with_confidence=True), plain.infer(RGB, DEPTH, with_confidence=True))
    assert gpu.calls == [*FIRST, "pinned", "synchronise"]
    assert len(gpu.tapes) == 2
    backend.infer(RGB[0], DEPTH[0], with_confidence=True)
    assert gpu.calls[-3:] == LATER


def test_places_stay_and_answers_belong_to_the_caller(model: Model) -> None:
    backend = TorchBackend(model, CPU, torch.float32, FakeTorchGpu())
    with torch.inference_mode():
        places = {backend.logits4(RGB[index : index + 1], DEPTH[index : index + 1]).data_ptr() for index in range(3)}
    assert len(places) == 1
    first = backend.infer(RGB[0], DEPTH[0], with_confidence=True)
    kept = first.labels.copy(), first.confidence.copy()
    backend.infer(RGB[1], DEPTH[1], with_confidence=True)
    np.testing.assert_array_equal(first.labels, kept[0])
    np.testing.assert_array_equal(first.confidence, kept[1])


def test_the_stand_in_refuses_what_cuda_refuses() -> None:
    """Else a network that cannot be recorded would pass the tests above."""
    network = GpuNetwork(lambda rgb, _: rgb * torch.tensor([2.0, 3.0, 4.0]), CPU, FakeTorchGpu())
    with torch.inference_mode():
        network.logits(RGB[:1], np.zeros((1, *SIZE, 2), np.uint8))
    assert not network.records


def test_smoothing_over_time_is_the_cpus(model: Model, plain: TorchBackend) -> None:
    streams = [], []
    for backend, seen in zip((plain, TorchBackend(model, CPU, torch.float32, FakeTorchGpu())), streams, strict=True):
        smoothing = TemporalSmoothing()
        smoothing.start(backend.model_sha256)
        for index in (0, 0, 1):
            seen.append(backend.infer(RGB[index], DEPTH[index], with_confidence=True, smoothing=[smoothing]))
    for expected, found in zip(*streams, strict=True):
        assert_same(found, expected)


def test_where_nothing_can_be_recorded_each_step_runs_by_itself_and_that_is_told_once(
    model: Model, plain: TorchBackend, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = FakeTorchGpu(can_record=False)
    backend = TorchBackend(model, CPU, torch.float32, gpu)
    assert backend.name == "torch cpu fp32"
    for index in (0, 1, slice(None)):
        expected = plain.infer(RGB[index], DEPTH[index], with_confidence=True)
        assert_same(backend.infer(RGB[index], DEPTH[index], with_confidence=True), expected)
    assert gpu.calls.count("record") == 1
    assert backend.name == "torch cpu fp32 eager"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == (
        "no CUDA graph, each step is launched by itself: CUDA error: operation not permitted when stream is capturing"
    )


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_the_tail_of_a_gpu_is_that_of_the_cpu(model: Model, plain: TorchBackend, temperature: float) -> None:
    logits = plain.logits4(RGB, DEPTH)
    expected = classify_all(logits.numpy(), replace(model.card, temperature=temperature), with_confidence=True)
    labels, confidence = labels_and_confidence(logits, temperature, with_confidence=True).numpy()
    assert_same(Prediction(labels, confidence), expected)
    (alone,) = labels_and_confidence(logits, temperature, with_confidence=False).numpy()
    np.testing.assert_array_equal(alone, labels)


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeTorchGpu:
    """A machine whose CUDA device is a stand-in."""
    try:
        torch.nn.functional.conv2d(torch.zeros(1, 1, 8, 8).half(), torch.zeros(1, 1, 3, 3).half())
    except RuntimeError as error:
        pytest.skip(f"this PyTorch has no FP16 on a CPU: {error}")
    gpu = FakeTorchGpu()
    monkeypatch.setattr(torch_gpu, "_WARM_UP", 1)  # FP16 takes its time on a CPU
    monkeypatch.setattr(torch_backend, "choose_device", lambda device: CPU)
    monkeypatch.setattr(torch_backend, "gpu_of", lambda device: gpu)
    return gpu


@pytest.fixture(scope="module")
def demo() -> Model:
    """Trained weights at a small size."""
    model = open_model("demo", form="bundle")
    card = replace(model.card, input_size=SIZE)
    return replace(model, card=card, bundle=replace(model.bundle, card=card))


@pytest.mark.parametrize(("precision", "serves"), [("auto", "fp16"), ("fp32", "fp32")])
def test_cuda_computes_in_fp16_where_the_labels_are_those_of_fp32(
    precision: str, serves: str, demo: Model, on_cuda: FakeTorchGpu, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    backend = TorchBackend.open(demo, "cuda", precision)
    assert backend.name == f"torch cpu {serves}"
    assert LastResortBackend(backend, None).agreement == backend.agreement
    frame = golden_frames(SIZE)[0]
    plain = TorchBackend(demo, CPU, torch.float32)
    assert np.mean(backend.infer(*frame).labels == plain.infer(*frame).labels) > (0.999 if serves == "fp32" else 0.995)
    if serves == "fp32":
        assert (backend.agreement, caplog.messages) == ("", [])
        return
    assert "of the labels in the worst of 4 simulated frames are those of FP32" in backend.agreement
    assert caplog.messages == [f"torch cpu fp16: {backend.agreement}; torch cpu fp16 serves"]


def test_labels_that_differ_leave_fp32_serving_and_bf16_by_name_serves_with_a_warning(
    demo: Model, on_cuda: FakeTorchGpu, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("asymformer_ros.engine.verify.MIN_AGREEMENT", 1.01)
    backend = TorchBackend.open(demo, "cuda", "fp16")
    assert (backend.name, backend.agreement) == ("torch cpu fp32", "")
    assert backend.infer(RGB[0], DEPTH[0]).labels.shape == SIZE
    assert TorchBackend.open(demo, "cuda", "bf16").name == "torch cpu bf16"
    fp16, bf16 = caplog.records
    assert (fp16.levelname, bf16.levelname) == ("WARNING", "WARNING")
    assert fp16.message.startswith("torch cpu fp16: only 9")
    assert fp16.message.endswith("in the worst of 4 frames are those of FP32: expected 101.0%; torch cpu fp32 serves")
    assert bf16.message.endswith("torch cpu bf16 serves")


def test_an_overflow_in_half_precision_is_seen(on_cuda: FakeTorchGpu, caplog: pytest.LogCaptureFixture) -> None:
    model = made()
    assert model.bundle is not None
    model.bundle.network.decoder.classify.weight.data *= 1e6
    assert TorchBackend.open(model, "cuda").name == "torch cpu fp32"
    assert caplog.messages == ["torch cpu fp16: its answers have NaN or infinity; torch cpu fp32 serves"]


def test_a_cpu_has_no_bf16_through_pytorch(model: Model) -> None:
    with pytest.raises(BackendError, match="computes in fp32 on a CPU: with backend auto OpenVINO can"):
        TorchBackend.open(model, "cpu", "bf16")


def test_a_gpu_that_fails_while_it_is_opened_is_told(
    model: Model, on_cuda: FakeTorchGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(on_cuda, "synchronise", fail)
    with pytest.raises(BackendError, match="^torch cpu failed: CUDA out of memory.$"):
        TorchBackend.open(model, "cuda")


@pytest.mark.gpu
class TestCuda:
    """What the stand-in cannot show."""

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
    def test_frames_one_by_one_and_together_are_those_of_the_cpu(self, precision: str) -> None:
        model = open_model("demo", form="bundle")
        backend, plain = TorchBackend.open(model, "cuda", precision), TorchBackend.open(model, "cpu")
        assert backend.name == f"torch cuda {precision}"
        frames = golden_frames(model.card.input_size)
        expected = [plain.infer(*frame, with_confidence=True) for frame in frames]
        least = {"fp32": 0.999, "fp16": 0.99, "bf16": 0.95}[precision]
        for _ in range(3):
            found = [backend.infer(*frame, with_confidence=True) for frame in frames]
            assert min(np.mean(a.labels == b.labels) for a, b in zip(found, expected, strict=True)) > least
        together = backend.infer(np.stack([rgb for rgb, _ in frames]), np.stack([depth for _, depth in frames]))
        assert min(np.mean(a == b.labels) for a, b in zip(together.labels, expected, strict=True)) > least

    def test_what_cannot_be_recorded_runs_by_itself_and_the_next_stream_is_an_ordinary_one(self) -> None:
        device = torch.device("cuda")
        network = GpuNetwork(lambda rgb, _: rgb * float(rgb.float().mean().item()), device, Cuda())
        with torch.inference_mode():
            for index in range(2):
                images = RGB[index : index + 1]
                scores = network.logits(images, np.zeros((1, *SIZE, 2), np.uint8)).cpu().numpy()
                np.testing.assert_allclose(scores, images * images.mean(), rtol=1e-4)
        assert not network.records
        assert torch.cuda.current_stream() == torch.cuda.default_stream()
        replayed = GpuNetwork(lambda rgb, _: rgb * 2.0, device, Cuda())
        with torch.inference_mode():
            for index in range(2):
                scores = replayed.logits(RGB[index : index + 1], np.zeros((1, *SIZE, 2), np.uint8)).cpu().numpy()
                np.testing.assert_array_equal(scores, RGB[index : index + 1] * 2.0)
        assert replayed.records
