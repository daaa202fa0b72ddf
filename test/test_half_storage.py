"""`asymformer export --half`: weights stored in FP16, everything computed in FP32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxruntime", reason="the exported files are run with ONNX Runtime")
torch = pytest.importorskip("torch", reason="export needs PyTorch")

from asymformer_ros.cli.main import main
from asymformer_ros.engine.golden import read_golden
from asymformer_ros.errors import CheckpointError
from asymformer_ros.frames.depth import depth_bytes
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.export import export_model
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.onnx_file import load
from asymformer_ros.models.opening import open_model
from asymformer_ros.network import SMALL
from asymformer_ros.onnx_graph.session import GraphSession
from asymformer_ros.onnx_graph.storage import store_half

SIZE = (64, 96)


def small_bundle(size: tuple[int, int] = SIZE) -> ModelBundle:
    return ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=size)


def random_frame(seed: int) -> RgbdFrame:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.3, 9, SIZE).astype(np.float32)
    return RgbdFrame(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), depth)


@pytest.fixture(scope="module")
def half_stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelBundle, Path, Path]:
    """A bundle in half storage, and its ONNX files with FP32 and with FP16 storage."""
    folder = tmp_path_factory.mktemp("half")
    small_bundle().save(folder / "model.safetensors", half=True)
    plain, half = folder / "plain.onnx", folder / "half.onnx"
    for path, options in ((plain, []), (half, ["--half"])):
        assert main(["export", str(folder / "model.safetensors"), str(path), *options]) == 0
    return ModelBundle.load(folder / "model.safetensors"), plain, half


def test_half_storage_takes_much_less_and_tells_the_same(half_stored: tuple[ModelBundle, Path, Path]) -> None:
    bundle, plain, half = half_stored
    assert half.stat().st_size < 0.66 * plain.stat().st_size
    ours, theirs = open_model(str(half)), open_model(str(plain))
    assert (ours.card, ours.signature, ours.shapes) == (theirs.card, theirs.signature, theirs.shapes)
    assert (ours.model_sha256, ours.precision) == (bundle.sha256, "fp32")
    golden = [read_golden(load(path)) for path in (plain, half)]
    assert golden[0] is not None
    assert golden[1] is not None
    np.testing.assert_array_equal(golden[0].labels, golden[1].labels)
    onnx.checker.check_model(str(half), full_check=True)


def test_half_stored_labels_are_pytorchs(half_stored: tuple[ModelBundle, Path, Path]) -> None:
    _, _, half = half_stored
    reference, ours = (open_backend("auto", str(p), "cpu") for p in (half.with_name("model.safetensors"), half))
    frames = [random_frame(seed) for seed in range(8)]
    same = [(ours.infer(f.rgb, f.depth).labels == reference.infer(f.rgb, f.depth).labels).mean() for f in frames]
    assert np.mean(same) > 0.9995  # an untrained network has near-ties; a trained one agrees to 99.99 %


def test_what_reads_a_half_stored_file_has_the_plain_graph(half_stored: tuple[ModelBundle, Path, Path]) -> None:
    _, plain, half = half_stored
    graphs = [load(path).graph for path in (plain, half)]
    assert list(graphs[0].node) == list(graphs[1].node)
    weights = [{t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer} for graph in graphs]
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        assert weights[1][name].dtype == values.dtype, name
        np.testing.assert_allclose(weights[1][name], values, rtol=2**-11, atol=6e-8)
    small = [name for name, values in weights[0].items() if values.size < 4096]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in small)


def test_onnx_runtime_alone_reads_a_half_stored_file_in_the_same_way(
    half_stored: tuple[ModelBundle, Path, Path],
) -> None:
    _, _, half = half_stored
    frame = random_frame(seed=6)
    feeds = {"rgb": frame.rgb[None], "depth": depth_bytes(frame.depth)[None]}
    answers = [GraphSession(model).run(None, feeds) for model in (onnx.load(str(half)), load(half))]
    for stored, restored in zip(*answers, strict=True):
        np.testing.assert_array_equal(stored, restored)


def test_weights_beyond_fp16_are_not_stored_by_half() -> None:
    bundle = small_bundle((32, 32))
    block = bundle.network.stages[3].rgb.blocks[0]
    block.expand.weight.data[0, 0] = 1e6
    with pytest.raises(CheckpointError, match="blocks.0.*has weights beyond FP16's 65504: leave `--half` away"):
        store_half(export_model(bundle))


def test_mixed_precision_and_half_storage_are_not_asked_for_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--precision", "mixed", "--report", "report.json", "--half"]
    assert main(["export", "untrained", str(tmp_path / "out.onnx"), *options]) == 1
    assert "mixed precision stores FP16 already: leave --half away" in capsys.readouterr().err
