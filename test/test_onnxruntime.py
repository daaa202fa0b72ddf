"""ONNX files: what they say, which of them serve, and that serving them needs no PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the onnxruntime backend needs onnx")
pytest.importorskip("onnxruntime", reason="the onnxruntime backend needs ONNX Runtime")
from onnx import TensorProto, helper, numpy_helper

from asymformer_ros.errors import AsymformerError, BackendError, CheckpointError
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.models.opening import open_model
from asymformer_ros.models.scores import classify
from asymformer_ros.models.signature import Signature

torch_reason = "only PyTorch can export a model to serve"
SIZE = (32, 64)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason=torch_reason)
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.export import export_model, write_model
    from asymformer_ros.network import SMALL

    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    write_model(export_model(ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=SIZE)), path)
    return path


def foreign_file(
    path: Path,
    classes: int = 40,
    depth_shape: tuple[object, ...] = (1, 1, *SIZE),
    size: tuple[int, int] = SIZE,
    weight: float = 1.0,
    names: tuple[str, str] = ("image.1", "image.2"),
) -> Path:
    """A file in the authors' layout whose logits are one 1x1 convolution of depth and colour, channels of 1 and 3."""
    weights = np.random.default_rng(1).standard_normal((classes, 4, 1, 1)).astype(np.float32) * np.float32(weight)
    graph = helper.make_graph(
        [
            helper.make_node("Concat", names, ["both"], axis=1),
            helper.make_node("Conv", ["both", "w"], ["out"]),
        ],
        "theirs",
        [
            helper.make_tensor_value_info(names[1], TensorProto.FLOAT, list(depth_shape)),
            helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [1, 3, *size]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, classes, *size])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize(("classes", "labels"), [(40, "nyuv2_40"), (37, "sunrgbd_37"), (13, "nyuv2_13")])
def test_the_authors_own_files_are_known_by_their_shapes(tmp_path: Path, classes: int, labels: str) -> None:
    model = open_model(str(foreign_file(tmp_path / "asymformer.onnx", classes)))
    assert (model.card.name, model.card.label_set, model.card.input_size) == ("asymformer", label_set(labels), SIZE)
    assert model.card.normalization == PUBLISHED_NORMALIZATION
    signature = model.signature
    assert (signature.batch, signature.outputs, signature.gives_labels) == (1, ("out",), False)
    assert model.model_sha256 == model.sha256


@pytest.mark.parametrize("names", [("image.1", "image.2"), ("rgb", "depth"), ("depth", "rgb")])
def test_the_authors_own_files_get_their_normalisation_and_unknown_depth_as_zero(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    path = foreign_file(tmp_path / "theirs.onnx", names=names)
    rng = np.random.default_rng(2)
    rgb, depth = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), rng.uniform(0, 9, SIZE).astype(np.float32)
    depth[:4] = np.nan
    norm = PUBLISHED_NORMALIZATION
    colour = (rgb / 255 - np.array(norm.rgb_mean)) / np.array(norm.rgb_std)
    metres = (np.nan_to_num(depth) - norm.depth_mean) / norm.depth_std
    weights = numpy_helper.to_array(onnx.load(str(path)).graph.initializer[0])[:, :, 0, 0]
    logits = np.dstack((colour, metres)) @ weights.T
    assert (open_backend("auto", str(path)).infer(rgb, depth).labels == logits.argmax(-1)).mean() > 0.999


def test_the_authors_own_files_are_exports_once_they_are_read(tmp_path: Path) -> None:
    """An engine's child reads what the node has read: see GraphFiles."""
    model = open_model(str(foreign_file(tmp_path / "theirs.onnx")))
    assert model.proto is not None
    onnx.checker.check_model(model.proto, full_check=True)
    onnx.save(model.proto, str(tmp_path / "copy.onnx"))
    copy = open_model(str(tmp_path / "copy.onnx"))
    assert (copy.card, copy.signature) == (model.card, model.signature)
    assert copy.model_sha256 == model.sha256
    shapes = {value.name: value.type.tensor_type for value in model.graph.graph.input}
    assert {name: tuple(dim.dim_value for dim in kind.shape.dim) for name, kind in shapes.items()} == model.shapes


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"classes": 21}, "has 21 classes and no label set: without one it can have 40, 13, 37"),
        ({"depth_shape": (1, 1, 32, 32)}, r"image.2 float32 \(1, 1, 32, 32\).*expected a file of `asymformer export`"),
        ({"depth_shape": (1, 1, "height", 64)}, "all sizes fixed"),
        ({"depth_shape": (1, 2, *SIZE)}, r"expected .* float32 inputs \(1, 3, H, W\) and \(1, 1, H, W\)"),
        ({"depth_shape": (1, 1, 30, 60), "size": (30, 60)}, "multiples of 32, got 30x60"),
    ],
)
def test_a_file_that_cannot_be_fed_says_what_it_has(tmp_path: Path, change: dict[str, object], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        open_model(str(foreign_file(tmp_path / "other.onnx", **change)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist: `asymformer export` makes it .*`rooms` comes with the package"),
        (b"text", "no readable ONNX file"),
        (b"", "no readable ONNX file: it holds no network"),
    ],
)
def test_no_onnx_file_is_an_error_that_says_so(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=told):
        open_backend("auto", str(path))


def test_a_camera_input_without_four_axes_is_refused(exported: Path, tmp_path: Path) -> None:
    """As a damaged file may have it."""
    model = onnx.load(str(exported))
    del model.graph.input[0].type.tensor_type.shape.dim[:]
    onnx.save(model, str(tmp_path / "changed.onnx"))
    with pytest.raises(CheckpointError, match=r"takes 'rgb' of shape \(\), expected \(N, H, W, 3\): it is damaged"):
        open_model(str(tmp_path / "changed.onnx"))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("version", "2", "is an export of version 2, this package reads version 1"),
        ("card", "{}", "has metadata that this version cannot read: no model card"),
    ],
)
def test_metadata_of_another_version_is_refused(
    exported: Path, tmp_path: Path, key: str, value: str, told: str
) -> None:
    model = onnx.load(str(exported))
    for entry in model.metadata_props:
        entry.value = value if entry.key == key else entry.value
    onnx.save(model, str(tmp_path / "changed.onnx"))
    with pytest.raises(CheckpointError, match=told):
        open_model(str(tmp_path / "changed.onnx"))


@pytest.mark.parametrize(
    ("choice", "model", "device", "told"),
    [
        ("onnxruntime", "nyu.safetensors", "auto", "export it first with `asymformer export nyu.safetensors nyu.onnx`"),
        ("onnxruntime", "untrained", "auto", "export it first with `asymformer export untrained untrained.onnx`"),
        ("torch", "nyu.onnx", "auto", "'nyu.onnx' is an ONNX file: set backend to onnxruntime or auto"),
        ("auto", "nyu.onnx", "cuda", "device is 'cuda' but the onnxruntime backend runs on the CPU"),
    ],
)
def test_a_model_of_another_kind_than_the_backend_is_refused(choice: str, model: str, device: str, told: str) -> None:
    with pytest.raises(BackendError, match=told):
        open_backend(choice, model, device)


def test_weights_that_answer_with_nan_do_not_serve(exported: Path, tmp_path: Path) -> None:
    foreign = foreign_file(tmp_path / "foreign.onnx", weight=float("nan"))
    model = onnx.load(str(exported))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "network.decoder.classify.weight")
    weights.CopyFrom(numpy_helper.from_array(np.full(tuple(weights.dims), np.nan, np.float32), weights.name))
    onnx.save(model, str(tmp_path / "ours.onnx"))
    for path in (foreign, tmp_path / "ours.onnx"):
        with pytest.raises(BackendError, match="answers with NaN or infinity: its weights are damaged"):
            open_backend("auto", str(path))


def test_a_file_for_several_images_at_a_time_does_not_serve(tmp_path: Path, exported: Path) -> None:
    import dataclasses

    with pytest.raises(BackendError, match="takes 2 images at a time.*`--batch 1`"):
        OnnxRuntimeBackend(dataclasses.replace(open_model(str(exported)), signature=Signature(batch=2)))


@pytest.mark.parametrize("missing", ["onnxruntime", "onnx"])
def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in (
        "inference.onnxruntime",
        "models.onnx_file",
        "onnx_graph.session",
        "onnx_graph.storage",
        "onnx_graph.outputs",
    ):
        monkeypatch.delitem(sys.modules, f"asymformer_ros.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(AsymformerError, match=f"needs {missing}, which is not installed here: `pip install {missing}`"):
        open_backend("auto", "model.onnx")


def test_serving_an_onnx_file_needs_no_pytorch(exported: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.segmenter import Segmenter
segmenter = Segmenter(open_backend("auto", {str(exported)!r}))
frame = RgbdFrame(np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32))
print(segmenter.backend.name, segmenter.segment(frame, with_confidence=True).labels.shape)
"""
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "onnxruntime cpu fp32 (48, 64)"


def test_labels_and_confidence_come_out_of_one_session_of_class_scores_at_stride_4(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asymformer_ros.onnx_graph import fastest

    opened: list[object] = []
    session = fastest.GraphSession
    monkeypatch.setattr(fastest, "GraphSession", lambda model, **how: (opened.append(model), session(model, **how))[1])
    backend = OnnxRuntimeBackend(open_model(str(exported)))
    rgb, depth = np.zeros((*SIZE, 3), np.uint8), np.ones(SIZE, np.float32)
    plain, both = (backend.infer(rgb, depth, with_confidence=wanted) for wanted in (False, True))
    np.testing.assert_array_equal(plain.labels, both.labels)
    (scores,) = opened[0].graph.output
    assert [dim.dim_value for dim in scores.type.tensor_type.shape.dim] == [1, 40, SIZE[0] // 4, SIZE[1] // 4]
    assert len(opened) == 1


def test_memory_stays_flat(exported: Path) -> None:
    psutil = pytest.importorskip("psutil", reason="reads this process's memory with psutil")
    backend = open_backend("onnxruntime", str(exported))
    rng, process = np.random.default_rng(3), psutil.Process()

    def run(frames: int) -> int:
        for _ in range(frames):
            rgb = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            backend.infer(rgb, rng.uniform(0, 9, SIZE).astype(np.float32), with_confidence=True)
        return int(process.memory_info().rss)

    assert run(150) - run(50) < 8e6


def test_logits_are_classified_as_softmax_would() -> None:
    logits = np.random.default_rng(4).standard_normal((13, 6, 7)).astype(np.float32) * 5
    labels, confidence = classify(logits, (6, 7), with_confidence=True)
    share = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_array_equal(labels, share.argmax(axis=0))
    assert confidence is not None
    np.testing.assert_allclose(confidence, share.max(axis=0) * 255, atol=0.51)
    assert classify(logits, (6, 7))[1] is None


def test_of_equal_scores_the_first_class_wins() -> None:
    logits = np.array([0, 2, 1, 2], np.float32).reshape(4, 1, 1) * np.ones((4, 2, 3), np.float32)
    assert np.unique(classify(logits, (8, 12))[0]).tolist() == [1]
