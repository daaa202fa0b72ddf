"""The temperature of a model's card: confidences follow it in every backend, labels do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="bundles are PyTorch's")
pytest.importorskip("onnx", reason="exports are ONNX files")
pytest.importorskip("onnxruntime", reason="runs the exports")
from fake_gpu import FakeEngine, FakeGpu

from asymformer_ros.engine.api import TensorInfo
from asymformer_ros.engine.session import GpuSession
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.inference.backend import Prediction, plain_frame
from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend
from asymformer_ros.inference.tensorrt import TensorRtBackend
from asymformer_ros.inference.torch import TorchBackend
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.camera_network import CameraNetwork
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.export import ExportOptions, export_model, write_model
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.models.opening import open_model
from asymformer_ros.models.signature import Signature
from asymformer_ros.network import CONFIGS
from asymformer_ros.onnx_graph.session import GraphSession

SIZE = (64, 96)
COOLER = 0.25
RGB, DEPTH = plain_frame(SIZE)
Answer = Callable[[ModelBundle, Path], Prediction]


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    """Of random weights, its scores as far apart as those of a trained one."""
    made = ModelBundle.untrained(CONFIGS["small"], label_set("nyuv2_40"), input_size=SIZE)
    made.network.decoder.classify.weight.data *= 200
    return made


def with_temperature(bundle: ModelBundle, temperature: float) -> ModelBundle:
    return ModelBundle(replace(bundle.card, temperature=temperature), bundle.network)


def saved(bundle: ModelBundle, folder: Path) -> Model:
    bundle.save(folder / "model.safetensors")
    return open_model(str(folder / "model.safetensors"))


def exported(bundle: ModelBundle, folder: Path, outputs: str) -> Model:
    write_model(export_model(bundle, ExportOptions(outputs=outputs)), folder / f"{outputs}.onnx")
    return open_model(str(folder / f"{outputs}.onnx"))


def of_torch(bundle: ModelBundle, folder: Path) -> Prediction:
    return TorchBackend.open(saved(bundle, folder), "cpu").infer(RGB, DEPTH, with_confidence=True)


def of_onnx_labels(bundle: ModelBundle, folder: Path) -> Prediction:
    return OnnxRuntimeBackend.open(exported(bundle, folder, "labels")).infer(RGB, DEPTH, with_confidence=True)


def of_onnx_scores(bundle: ModelBundle, folder: Path) -> Prediction:
    return OnnxRuntimeBackend.open(exported(bundle, folder, "logits4")).infer(RGB, DEPTH, with_confidence=True)


def of_the_graph_of_engines(bundle: ModelBundle, folder: Path) -> Prediction:
    """What an engine is built of gives confidences itself."""
    model = saved(bundle, folder)
    labels, confidence = GraphSession(model.graph).run(["labels", "confidence"], model.feeds(RGB, DEPTH))
    return Prediction(labels[0], confidence[0])


ANSWERS = (of_torch, of_onnx_labels, of_onnx_scores, of_the_graph_of_engines)


def scores_of(bundle: ModelBundle) -> torch.Tensor:
    """(classes, H, W)."""
    images = (torch.from_numpy(image[None]) for image in (RGB, depth_bytes(DEPTH)))
    with torch.inference_mode():
        return CameraNetwork(bundle).eval()(*images)[0]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_confidences_are_the_softmax_of_scores_over_the_temperature(
    bundle: ModelBundle, tmp_path: Path, answer: Answer
) -> None:
    labels, confidence = answer(with_temperature(bundle, COOLER), tmp_path)
    scores = scores_of(bundle)
    assert (labels == scores.argmax(0).numpy()).mean() > 0.999
    assert confidence is not None
    assert np.abs(confidence - (scores / COOLER).softmax(0).amax(0).numpy() * 255).max() < 2
    assert confidence.mean() > (scores.softmax(0).amax(0) * 255).mean() + 20


@pytest.mark.gpu
def test_pytorch_on_cuda_follows_it_too(bundle: ModelBundle, tmp_path: Path) -> None:
    model = saved(with_temperature(bundle, COOLER), tmp_path)
    confidence = TorchBackend.open(model, "cuda").infer(RGB, DEPTH, with_confidence=True).confidence
    assert confidence is not None
    assert np.abs(confidence - (scores_of(bundle) / COOLER).softmax(0).amax(0).numpy() * 255).mean() < 2


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_an_engine_that_gives_scores_follows_it(temperature: float) -> None:
    gpu, card = FakeGpu(), ModelCard("m", label_set("nyuv2_40"), PUBLISHED_NORMALIZATION, SIZE, "", temperature)
    inputs = FakeEngine.of_camera(gpu, 1, SIZE).inputs
    engine = FakeEngine(gpu, inputs, (TensorInfo("out", (1, 4, *SIZE), "FLOAT"),))  # its scores are its inputs
    model = Model(Path("theirs.onnx"), card, Signature(outputs=("out",)))
    answer = TensorRtBackend(model, "tensorrt", lambda: GpuSession(gpu, lambda: engine)).infer(
        RGB, DEPTH, with_confidence=True
    )
    scores = np.dstack((RGB, depth_bytes(DEPTH)[..., 0])).transpose(2, 0, 1) / temperature
    share = np.exp(scores - scores.max(0))
    np.testing.assert_allclose(answer.confidence, 255 / share.sum(0), atol=0.6)


def test_a_card_keeps_it_and_an_older_card_has_the_same_hash_as_before(bundle: ModelBundle) -> None:
    assert "temperature" not in bundle.card.to_json()
    card = replace(bundle.card, temperature=1.7)
    for one in (card, bundle.card):
        assert ModelCard.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_a_number_above_0(bundle: ModelBundle, temperature: float) -> None:
    with pytest.raises(ConfigurationError, match="a temperature is a number above 0"):
        replace(bundle.card, temperature=temperature)
