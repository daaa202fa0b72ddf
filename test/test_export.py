"""`asymformer export`: the ONNX file says what PyTorch says, and says what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxruntime", reason="the exported files are run with ONNX Runtime")
torch = pytest.importorskip("torch", reason="export needs PyTorch")
from golden import published_state

from asymformer_ros.cli.main import main
from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.card import IMAGENET_NORMALIZATION, ModelCard
from asymformer_ros.models.export import OPSET, ExportOptions, export_model, write_model
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.opening import open_model
from asymformer_ros.network import SMALL, AsymFormer
from asymformer_ros.network.published import translate_published
from asymformer_ros.onnx_graph.attention import widen_values
from asymformer_ros.onnx_graph.session import GraphSession

SIZE = (64, 96)
LABELS = label_set("nyuv2_40")


def small_bundle(size: tuple[int, int] = SIZE) -> ModelBundle:
    return ModelBundle.untrained(SMALL, LABELS, input_size=size)


def random_frame(size: tuple[int, int], seed: int) -> RgbdFrame:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.3, 9, size).astype(np.float32)
    depth[rng.random(size) < 0.1] = np.nan
    return RgbdFrame(rng.integers(0, 256, (*size, 3), dtype=np.uint8), depth)


def torch_logits(bundle: ModelBundle, frame: RgbdFrame) -> np.ndarray:
    """(C, H/4, W/4) of the network as it is trained, unfolded, on the depth in whole millimetres."""
    norm = bundle.card.normalization
    millimetres = depth_bytes(frame.depth).view("<u2")[..., 0]
    colour = (frame.rgb / 255 - np.array(norm.rgb_mean)) / np.array(norm.rgb_std)
    depth = (millimetres / 1000 - norm.depth_mean) / norm.depth_std
    images = (torch.from_numpy(image[None]).float() for image in (colour.transpose(2, 0, 1), depth[None]))
    with torch.inference_mode():
        return bundle.network.eval().forward_stride4(*images)[0].numpy()


def full_size(logits: np.ndarray) -> torch.Tensor:
    """Logits (C, h, w) at (C, 4 h, 4 w)."""
    return torch.nn.functional.interpolate(torch.from_numpy(logits)[None], scale_factor=4, mode="bilinear")[0]


def run(model: object, *frames: RgbdFrame) -> list[np.ndarray]:
    feeds = {
        "rgb": np.stack([frame.rgb for frame in frames]),
        "depth": np.stack([depth_bytes(frame.depth) for frame in frames]),
    }
    return GraphSession(model).run(None, feeds)


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (32, 32)])
def test_logits_are_pytorchs(size: tuple[int, int]) -> None:
    bundle, frame = small_bundle(size), random_frame(size, seed=1)
    (logits,) = run(export_model(bundle, ExportOptions(outputs="logits4")), frame)
    assert (logits.shape, logits.dtype) == ((1, 40, size[0] // 4, size[1] // 4), np.float32)
    np.testing.assert_allclose(logits[0], torch_logits(bundle, frame), atol=1e-3)


def test_labels_and_confidence_are_the_softmax_maximum_of_each_image_of_a_batch() -> None:
    bundle, frames = small_bundle(), [random_frame(SIZE, seed) for seed in (2, 3)]
    labels, confidence = run(export_model(bundle, ExportOptions(batch=2)), *frames)
    assert labels.shape == confidence.shape == (2, *SIZE)
    assert labels.dtype == confidence.dtype == np.uint8
    for index, frame in enumerate(frames):
        share = torch.softmax(full_size(torch_logits(bundle, frame)), dim=0).numpy()
        assert (labels[index] == share.argmax(axis=0)).mean() >= 0.999
        np.testing.assert_allclose(confidence[index], share.max(axis=0) * 255, atol=0.6)


def test_the_normalisation_of_the_weights_is_in_the_graph() -> None:
    card = ModelCard("imagenet", LABELS, IMAGENET_NORMALIZATION, SIZE)
    bundle, frame = ModelBundle(card, small_bundle().network), random_frame(SIZE, seed=4)
    (logits,) = run(export_model(bundle, ExportOptions(outputs="logits4")), frame)
    np.testing.assert_allclose(logits[0], torch_logits(bundle, frame), atol=1e-3)


@pytest.fixture(scope="module")
def small_graph() -> object:
    return export_model(small_bundle()).graph


def test_the_graph_holds_only_what_tensorrt_reads(small_graph: object) -> None:
    ops = Counter(node.op_type for node in small_graph.node)
    norms = sum(isinstance(module, torch.nn.LayerNorm) for module in AsymFormer(SMALL).modules())
    assert ops["LayerNormalization"] == norms
    assert ops["Softmax"] == 11
    plain = "Add Cast Concat Conv Div Erf Exp LayerNormalization MatMul Mul ReduceMax ReduceMean ReduceMin "
    plain += "ReduceSum Relu Reshape Resize Round Sigmoid Softmax Split Sub Transpose Unsqueeze Equal Where"
    assert set(ops) <= set(plain.split())


def test_tensorrts_parser_adds_no_arithmetic_to_the_graph(small_graph: object, tmp_path: Path) -> None:
    """It does for shapes that it thinks unknown, such as a Slice's: about 25 layers each."""
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    opset = onnx.helper.make_opsetid("", OPSET)
    onnx.save(onnx.helper.make_model(small_graph, opset_imports=[opset]), tmp_path / "model.onnx")
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network()
    assert trt.OnnxParser(network, logger).parse_from_file(str(tmp_path / "model.onnx"))
    kinds = Counter(network.get_layer(index).type for index in range(network.num_layers))
    ops = Counter(node.op_type for node in small_graph.node)
    assert kinds[trt.LayerType.ELEMENTWISE] == sum(ops[op] for op in ("Add", "Div", "Equal", "Mul", "Sub"))
    assert kinds[trt.LayerType.CAST] == ops["Cast"]


def test_uint8_goes_in_and_out_through_casts(small_graph: object) -> None:
    readers = [node for node in small_graph.node if {"rgb", "depth"} & set(node.input)]
    writers = [node for node in small_graph.node if {"labels", "confidence"} & set(node.output)]
    assert [node.op_type for node in readers + writers] == ["Cast"] * 4
    types = {value.name: value.type.tensor_type.elem_type for value in small_graph.value_info}
    assert {types[node.input[0]] for node in writers} == {onnx.TensorProto.FLOAT}  # TensorRT casts nothing else to it


def test_nodes_are_named_after_the_networks_modules(small_graph: object) -> None:
    names = [node.name for node in small_graph.node]
    assert len(set(names)) == len(names)
    assert "/network/stages.1/rgb/blocks/blocks.0/norm/LayerNormalization" in names
    assert {name.split("/")[1] for name in names} == {"preprocess", "network", "classify"}


def test_the_same_bundle_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_model(export_model(small_bundle()), tmp_path / f"{name}.onnx")
    assert open_model(str(tmp_path / "a.onnx")).sha256 == open_model(str(tmp_path / "b.onnx")).sha256


def test_the_file_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, path = small_bundle(), tmp_path / "model.safetensors"
    bundle.save(path)
    out = tmp_path / "out" / "model.onnx"
    assert main(["export", str(path), str(out), "--size", "96x128", "--batch", "3"]) == 0
    model = open_model(str(out))
    assert model.card.input_size == (96, 128)
    assert (model.card.name, model.card.label_set, model.card.normalization) == (
        bundle.card.name,
        bundle.card.label_set,
        bundle.card.normalization,
    )
    assert (model.model_sha256, model.batch, model.precision) == (bundle.sha256, 3, "fp32")
    assert model.signature.gives_labels
    assert [file.name for file in out.parent.iterdir()] == ["model.onnx"]
    printed = capsys.readouterr().out
    assert f"wrote {out} (" in printed
    assert "labels, confidence of 40 classes (nyuv2_40), batch 3, input 96x128 (height x width), fp32" in printed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--size", "100x96"], "multiples of 32, got 100x96"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_no_file(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "untrained", str(tmp_path / "out.onnx"), *options]) == 1
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write .*out.onnx"):
        write_model(export_model(small_bundle((32, 32))), tmp_path / "file" / "out.onnx")


def test_outputs_have_two_forms() -> None:
    with pytest.raises(ConfigurationError, match="outputs is 'masks': expected one of labels, logits4"):
        ExportOptions(outputs="masks")


def agreement(
    bundle: ModelBundle, folder: Path, count: int, change: Callable[[Any], Any] = lambda graph: graph
) -> float:
    """Share of pixels with the same label as the unfolded network's; holds the logits to 1e-3 on the way."""
    session = GraphSession(change(export_model(bundle, ExportOptions(outputs="logits4"))))
    same = []
    for recorded in sample_frames(folder, count):
        frame = RgbdFrame(*resize_frame(recorded, bundle.card.input_size))
        (logits,) = session.run(None, {"rgb": frame.rgb[None], "depth": depth_bytes(frame.depth)[None]})
        expected = torch_logits(bundle, frame)
        np.testing.assert_allclose(logits[0], expected, atol=1e-3)
        ours, theirs = (full_size(scores).argmax(dim=0) for scores in (logits[0], expected))
        same.append((ours == theirs).float().mean())
    return float(np.mean(same))


def test_a_small_network_agrees(recording: Path) -> None:
    torch.manual_seed(5)
    network = AsymFormer(SMALL)
    for tensor in network.parameters():
        tensor.data.add_(torch.randn_like(tensor) * 0.05)  # away from an untrained network's near-ties
    bundle = ModelBundle(small_bundle((256, 320)).card, network)
    assert agreement(bundle, recording, 3) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("change", [lambda graph: graph, widen_values], ids=["as it is", "for engines"])
def test_the_published_network_agrees(rendered: Path, change: Callable[[Any], Any]) -> None:
    network = AsymFormer()
    network.load_state_dict(translate_published(published_state()))
    bundle = ModelBundle(small_bundle((256, 320)).card, network)
    assert agreement(bundle, rendered, 2, change) >= 0.999
