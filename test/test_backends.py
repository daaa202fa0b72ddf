"""The contract of every inference backend, and how one is chosen."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch backend is the reference of the contract")
from torch.nn import functional as F

from asymformer_ros.engine.driver import GpuInfo, NoGpu
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.inference import libraries
from asymformer_ros.inference import torch as torch_backend
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.models import catalogue as weights
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.catalogue import DEMO, KnownWeights
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.opening import open_bundle, open_model
from asymformer_ros.network import SMALL

SIZE = (64, 96)
RGB = np.random.default_rng(5).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
DEPTH = np.random.default_rng(6).uniform(0.4, 6.0, SIZE).astype(np.float32)


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=SIZE)


@pytest.fixture(scope="module")
def probabilities(bundle: ModelBundle) -> np.ndarray:
    """(40, h, w) softmax of the whole network, computed the plain way."""
    norm = bundle.card.normalization
    rgb = (RGB / 255 - np.array(norm.rgb_mean)) / np.array(norm.rgb_std)
    depth = (DEPTH - norm.depth_mean) / norm.depth_std
    with torch.inference_mode():
        logits = bundle.network.eval()(
            torch.from_numpy(rgb.transpose(2, 0, 1)[None]).float(), torch.from_numpy(depth[None, None]).float()
        )
    return F.softmax(logits[0], dim=0).numpy()


def write_export(bundle: ModelBundle, path: Path, outputs: str) -> None:
    from asymformer_ros.models.export import ExportOptions, export_model, write_model

    write_model(export_model(bundle, ExportOptions(outputs=outputs)), path)


def write_foreign(bundle: ModelBundle, path: Path, _: str) -> None:
    """A file as the authors publish it: normalised images in, logits out, nothing said about it."""
    images = (torch.zeros(1, 3, *SIZE), torch.zeros(1, 1, *SIZE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.utils.export(bundle.network.eval(), images, str(path), opset_version=17)


class TestEveryBackend:
    """What the node relies on, whichever backend serves."""

    @pytest.fixture(scope="class", params=["torch", "onnxruntime labels", "onnxruntime logits4", "onnxruntime foreign"])
    def backend(
        self, request: pytest.FixtureRequest, bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory
    ) -> InferenceBackend:
        library, _, outputs = request.param.partition(" ")
        if library == "torch":
            return torch_backend.TorchBackend.open(Model(Path("m.safetensors"), bundle.card, bundle=bundle), "cpu")
        pytest.importorskip("onnx", reason="the onnxruntime backend needs onnx")
        pytest.importorskip("onnxruntime", reason="the onnxruntime backend needs ONNX Runtime")
        path = tmp_path_factory.mktemp("onnx") / "model.onnx"
        (write_foreign if outputs == "foreign" else write_export)(bundle, path, outputs)
        return open_backend(library, str(path), "auto")

    def test_labels_and_confidence_are_the_softmax_maximum(
        self, backend: InferenceBackend, probabilities: np.ndarray
    ) -> None:
        labels, confidence = backend.infer(RGB, DEPTH, with_confidence=True)
        assert (labels.shape, labels.dtype) == (SIZE, np.uint8)
        assert confidence is not None
        assert (confidence.shape, confidence.dtype) == (SIZE, np.uint8)
        chosen = np.take_along_axis(probabilities, labels[None].astype(int), axis=0)[0]
        np.testing.assert_allclose(chosen, probabilities.max(axis=0), atol=1e-5)
        np.testing.assert_allclose(confidence, probabilities.max(axis=0) * 255, atol=0.6)

    def test_confidence_is_made_only_where_it_is_asked_for(self, backend: InferenceBackend) -> None:
        assert backend.infer(RGB, DEPTH).confidence is None
        np.testing.assert_array_equal(
            backend.infer(RGB, DEPTH).labels, backend.infer(RGB, DEPTH, with_confidence=True).labels
        )

    def test_unknown_depth_is_zero_metres(self, backend: InferenceBackend) -> None:
        holes = np.random.default_rng(7).random(SIZE) < 0.3
        unknown, zero = np.where(holes, np.nan, DEPTH), np.where(holes, 0, DEPTH)
        np.testing.assert_array_equal(
            backend.infer(RGB, unknown.astype(np.float32)).labels, backend.infer(RGB, zero.astype(np.float32)).labels
        )

    def test_inputs_stay_as_they_were_and_outputs_belong_to_the_caller(self, backend: InferenceBackend) -> None:
        rgb, depth = RGB.copy(), DEPTH.copy()
        first = backend.infer(rgb, depth).labels
        before = first.copy()
        backend.infer(255 - rgb, depth)
        np.testing.assert_array_equal(rgb, RGB)
        np.testing.assert_array_equal(depth, DEPTH)
        np.testing.assert_array_equal(first, before)
        first[:] = 255

    def test_rows_with_padding_are_taken_without_a_warning(self, backend: InferenceBackend) -> None:
        padded = np.zeros((SIZE[0], SIZE[1] + 3, 3), dtype=np.uint8)
        padded[:, : SIZE[1]] = RGB
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            labels = backend.infer(padded[:, : SIZE[1]], DEPTH).labels
        np.testing.assert_array_equal(labels, backend.infer(RGB, DEPTH).labels)

    def test_several_images_are_answered_as_one_by_one(self, backend: InferenceBackend) -> None:
        images, depths = np.stack([RGB, 255 - RGB, RGB[::-1]]), np.stack([DEPTH, DEPTH, DEPTH[::-1]])
        together = backend.infer(images, depths, with_confidence=True)
        assert together.confidence is not None
        for index in range(3):
            alone = backend.infer(images[index], depths[index], with_confidence=True)
            assert np.mean(together.labels[index] == alone.labels) > 0.999
            assert alone.confidence is not None
            np.testing.assert_allclose(together.confidence[index].astype(int), alone.confidence, atol=1)

    def test_another_size_is_refused(self, backend: InferenceBackend) -> None:
        with pytest.raises(BackendError, match=r"\(32, 96, 3\).*expected \(64, 96, 3\)"):
            backend.infer(RGB[:32], DEPTH[:32])

    def test_it_names_itself_and_its_model(self, backend: InferenceBackend) -> None:
        assert backend.name in ("torch cpu fp32", "onnxruntime cpu fp32")
        assert (backend.card.input_size, backend.card.label_set.name) == (SIZE, "nyuv2_40")


def test_auto_says_why_it_does_not_use_cuda(caplog: pytest.LogCaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    backend = open_backend("auto", "untrained")
    assert backend.name == "torch cpu fp32"
    assert len(caplog.messages) == 1
    assert "no CUDA device" in caplog.messages[0]
    with pytest.raises(BackendError, match="no CUDA device can be used"):
        open_backend("torch", "untrained", "cuda")


@pytest.mark.parametrize(
    ("choice", "device", "told"),
    [("caffe", "cpu", "'caffe': expected one of auto, torch, onnxruntime"), ("torch", "tpu", "'tpu'")],
)
def test_an_unknown_choice_is_refused_by_name(choice: str, device: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        open_backend(choice, "untrained", device)


def test_weights_that_answer_with_nan_do_not_serve() -> None:
    damaged = ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=SIZE)
    next(damaged.network.parameters()).data.fill_(float("nan"))
    with pytest.raises(BackendError, match=r"'broken.safetensors' answers with NaN"):
        torch_backend.TorchBackend.open(Model(Path("broken.safetensors"), damaged.card, bundle=damaged), "cpu")


def test_no_model_is_the_one_for_real_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # nothing was downloaded
    for opened in (open_model(""), open_bundle(""), open_backend("auto", "", "cpu")):
        assert opened.card.name == "rooms"


class TestAModelWithBothFiles:
    """Weights that are known by name, as a bundle and as an ONNX file."""

    @pytest.fixture(autouse=True)
    def files(self, bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownWeights:
        pytest.importorskip("onnxruntime", reason="serves the ONNX file")
        monkeypatch.setattr(weights, "__file__", str(tmp_path / "__init__.py"))
        bundle.save(DEMO.bundle, half=True)
        write_export(ModelBundle.load(DEMO.bundle), DEMO.onnx, "labels")
        return DEMO

    @pytest.mark.parametrize(
        ("choice", "serves"), [("torch", "torch cpu fp32"), ("onnxruntime", "onnxruntime cpu fp32")]
    )
    def test_each_backend_finds_its_own(self, choice: str, serves: str) -> None:
        backend = open_backend(choice, "demo", "cpu")
        assert backend.name == serves
        expected = open_backend("torch", str(DEMO.bundle), "cpu").infer(RGB, DEPTH).labels
        assert np.mean(backend.infer(RGB, DEPTH).labels == expected) > 0.999

    @pytest.mark.parametrize(
        ("device", "why_not", "serves", "told"),
        [
            ("auto", "", "cuda", ""),
            ("cuda", "", "cuda", ""),
            ("auto", "no GPU", "onnxruntime cpu fp32", "no GPU: ONNX Runtime runs on the CPU"),
            ("cpu", "", "onnxruntime cpu fp32", "device is 'cpu': ONNX Runtime runs on the CPU"),
        ],
    )
    def test_auto_is_pytorch_on_cuda_and_else_onnx_runtime(
        self,
        device: str,
        why_not: str,
        serves: str,
        told: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(libraries, "probe_gpu", lambda: GpuInfo("Orin", (8, 7), (12, 6)))
        monkeypatch.setattr(torch_backend, "why_no_cuda", lambda: why_not)
        monkeypatch.setattr(
            torch_backend.TorchBackend,
            "open",
            lambda model, device, precision: SimpleNamespace(name="cuda", model=model, device="cuda"),
        )
        assert open_backend("auto", "demo", device).name == serves
        assert caplog.messages == ([told] if told else [])

    def test_without_pytorch_auto_says_so_and_takes_onnx_runtime(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(libraries, "probe_gpu", lambda: GpuInfo("Orin", (8, 7), (12, 6)))
        monkeypatch.delitem(sys.modules, "asymformer_ros.inference.torch")
        monkeypatch.setitem(sys.modules, "torch", None)
        assert open_backend("auto", "demo").name == "onnxruntime cpu fp32"
        assert caplog.messages[0].startswith("the torch backend needs torch, which is not")

    def test_pytorch_is_not_even_imported_where_the_driver_has_no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(libraries, "probe_gpu", lambda: NoGpu("no NVIDIA driver"))
        monkeypatch.setitem(sys.modules, "asymformer_ros.inference.torch", None)
        assert open_backend("auto", "demo").name == "onnxruntime cpu fp32"

    def test_without_onnx_runtime_auto_says_so_and_takes_pytorch_on_the_cpu(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        assert open_backend("auto", "demo", "cpu").name == "torch cpu fp32"
        assert caplog.messages == ["onnxruntime is not installed: PyTorch runs on the CPU"]

    def test_where_onnx_runtime_fails_to_load_auto_says_why_and_takes_pytorch_on_the_cpu(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        """As one that is built for another NumPy does."""
        (tmp_path / "onnxruntime.py").write_text("raise ImportError('numpy.core.multiarray failed to import')")
        monkeypatch.syspath_prepend(tmp_path)
        for module in [name for name in sys.modules if name.split(".")[0] == "onnxruntime"]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.delitem(sys.modules, "asymformer_ros.onnx_graph.session", raising=False)
        monkeypatch.delitem(sys.modules, "asymformer_ros.inference.onnxruntime", raising=False)
        assert open_backend("auto", "demo", "cpu").name == "torch cpu fp32"
        assert "fails to load (ImportError: numpy.core.multiarray failed" in caplog.messages[0]
        assert caplog.messages[0].endswith(": PyTorch runs on the CPU")


@pytest.mark.gpu
def test_cuda_in_half_precision_agrees_with_the_cpu(bundle: ModelBundle, probabilities: np.ndarray) -> None:
    backend = torch_backend.TorchBackend.open(Model(Path("m.safetensors"), bundle.card, bundle=bundle), "cuda")
    labels, confidence = backend.infer(RGB, DEPTH, with_confidence=True)
    chosen = np.take_along_axis(probabilities, labels[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(chosen, probabilities.max(axis=0), atol=0.01)
    assert confidence is not None
    np.testing.assert_allclose(confidence, probabilities.max(axis=0) * 255, atol=4)
