"""`asymformer precision` names the layers that FP16 would harm, and mixed precision spares them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="precision reads ONNX graphs")
pytest.importorskip("onnxruntime", reason="precision runs ONNX graphs")
torch = pytest.importorskip("torch", reason="only PyTorch can export a model to look at")
from golden import published_state
from half_rounding import rounded_to_half
from onnx import TensorProto

from asymformer_ros.cli.main import main
from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.engine.source import analyse_model
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.export import export_model
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.onnx_file import describe
from asymformer_ros.models.opening import open_model
from asymformer_ros.network import SMALL, AsymFormer
from asymformer_ros.network.published import translate_published
from asymformer_ros.onnx_graph.mixed import FP32_OPS, nodes_to_pin, to_mixed
from asymformer_ros.onnx_graph.precision import weigh
from asymformer_ros.onnx_graph.probes import add_probes, read_probes
from asymformer_ros.onnx_graph.report import PrecisionReport
from asymformer_ros.onnx_graph.session import GraphSession

SIZE = (64, 96)
EXPAND = "/network/stages.1/rgb/blocks/blocks.0/expand/"
PROJECT = "/network/stages.1/rgb/blocks/blocks.0/project/"


def small_bundle(size: tuple[int, int] = SIZE) -> ModelBundle:
    return ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=size)


def described(graph: object) -> Model:
    return describe(graph, "", Path("model.onnx"))


def report_of(model: object, frames: int = 1) -> PrecisionReport:
    return analyse_model(described(model), sample_frames(None, frames), "test")


@pytest.fixture(scope="module")
def model() -> object:
    return export_model(small_bundle())


@pytest.fixture(scope="module")
def report(model: object) -> PrecisionReport:
    return report_of(model, frames=2)


def amplified(factor: float) -> ModelBundle:
    """One block of the RGB branch multiplies by `factor` and divides by it again: the same function in FP32."""
    bundle = small_bundle()
    block = bundle.network.stages[1].rgb.blocks[0]
    block.activation = torch.nn.ReLU()  # so that a factor goes through
    block.expand.weight.data *= factor
    block.project.weight.data /= factor
    return bundle


def test_layers_have_the_names_of_the_onnx_nodes(model: object, report: PrecisionReport) -> None:
    assert set(report.layers) <= {node.name for node in model.graph.node}
    assert EXPAND + "MatMul" in report.layers
    assert report.frames == 2
    assert report.model == {entry.key: entry.value for entry in model.metadata_props}["model_sha256"]


def test_what_sums_up_stays_in_fp32_and_preprocessing_need_not(report: PrecisionReport) -> None:
    kept = {name: report.layers[name] for name in report.fp32_layers}
    assert all(name in kept for name, layer in report.layers.items() if layer.op in FP32_OPS)
    assert not any(name.startswith("/preprocess/") for name in kept)
    assert report.layers["/preprocess/Add_1"].values.max_abs < 10  # normalised metres
    assert report.layers[EXPAND + "MatMul"].precision == "fp16"


def test_the_convolution_that_takes_levels_as_they_came_stays_in_fp32(report: PrecisionReport) -> None:
    kept = [name for name, layer in report.layers.items() if layer.reason == "takes levels that are not normalised"]
    assert kept == ["/network/stages.0/rgb/downsample/downsample.0/Conv"]


def test_a_softmax_over_many_places_stays_in_fp32() -> None:
    bundle = small_bundle((256, 320))  # stage 2 has 32 x 40 places, stage 3 16 x 20
    report = report_of(export_model(bundle))
    long = {name for name, layer in report.layers.items() if layer.reason == "sums over 1280 values"}
    assert long == {"/network/stages.1/fusion/correlate/Softmax"}


def test_a_builder_that_chooses_the_precision_is_told_only_of_layers_that_compute_and_are_in_danger() -> None:
    graph = export_model(amplified(5e5))
    report = report_of(graph)
    assert nodes_to_pin(graph, ()) == ()
    pinned = nodes_to_pin(graph, report.fp32_layers)
    assert EXPAND + "MatMul" in pinned
    kinds = {report.layers[name].op for name in pinned}
    assert kinds.isdisjoint({"LayerNormalization", "Reshape", "Transpose", "Concat", "Cast"})
    assert set(pinned) < set(report.fp32_layers)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_mixed_precision_can_keep_each_softmax_of_the_fusion_in_fp32(stage: int, model: object) -> None:
    name = f"/network/stages.{stage}/fusion/correlate/Softmax"
    mixed = to_mixed(model, {name})
    types = types_of(mixed.graph)
    softmax = next(node for node in mixed.graph.node if node.name == name)
    assert types[softmax.input[0]] == types[softmax.output[0]] == TensorProto.FLOAT
    other = next(node for node in mixed.graph.node if node.op_type == "Softmax" and node.name != name)
    assert types[other.output[0]] == TensorProto.FLOAT16


def test_activations_beyond_the_range_are_named_with_all_that_touches_them() -> None:
    report = report_of(export_model(amplified(5e5)))
    for name in (EXPAND + "Add", EXPAND + "MatMul", PROJECT + "MatMul"):
        assert report.layers[name].precision == "fp32", name
    assert report.layers[EXPAND + "MatMul"].values.max_abs > 65504
    assert report.layers[EXPAND + "MatMul"].values.overflow > 0
    assert "with 4 times headroom beyond 65504" in report.layers[EXPAND + "MatMul"].reason
    assert report.layers[PROJECT + "Add"].precision == "fp16"


def test_activations_below_the_range_are_named() -> None:
    report = report_of(export_model(amplified(1e-8)))
    layer = report.layers["/network/stages.1/rgb/blocks/blocks.0/activation/Relu"]
    assert layer.values.underflow > 0.4  # the others are zeros
    assert layer.values.half_error > 0.5
    assert "most are too small" in layer.reason


def test_weights_beyond_the_range_are_named() -> None:
    report = report_of(export_model(amplified(1e7)))
    weight = report.weights[EXPAND + "MatMul_weight"]
    assert weight.values.overflow > 0.5
    assert report.layers[EXPAND + "MatMul"].reason.startswith("weights reach")
    assert report.layers[EXPAND + "MatMul"].reason.endswith("beyond 65504")
    small = report.weights[PROJECT + "MatMul_weight"]
    assert small.tiny > 0.9
    assert small.changed > 0.9
    assert report.layers[PROJECT + "MatMul"].reason.startswith("weights change by")


def test_a_weight_tensor_is_weighed_without_its_zeros() -> None:
    weight = weigh(np.array([0, 1e-8, 1, 1e5], dtype=np.float32))
    assert (weight.values.max_abs, weight.tiny, weight.values.overflow) == (
        1e5,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )
    assert weight.values.underflow == weight.tiny
    assert weight.changed == pytest.approx(2 / 3)
    assert weigh(np.zeros(3, dtype=np.float32)).values.half_error == 0


def test_probes_measure_what_numpy_does() -> None:
    values = np.array([[0, 1e-9, -3e-8, 0.1, -7.0, 1e5]], dtype=np.float32)
    node = onnx.helper.make_node("Identity", ["x"], ["y"], name="y")
    given = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)
    graph = onnx.helper.make_graph([node], "one", [given], [])
    one = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (rows,) = GraphSession(add_probes(one, ["y"]), optimized=False).run(None, {"x": values})
    seen = read_probes(["y"], rows[None])["y"]
    assert (seen.max_abs, seen.min_abs) == (1e5, pytest.approx(1e-9))
    assert (seen.underflow, seen.overflow) == (pytest.approx(2 / 6), pytest.approx(1 / 6))
    clipped = np.clip(values.astype(np.float64), -65504, 65504)
    error = np.linalg.norm(clipped.astype(np.float16) - clipped) / np.linalg.norm(clipped)
    assert seen.half_error == pytest.approx(error, rel=0.05)


def test_a_report_comes_back_from_its_file(report: PrecisionReport, tmp_path: Path) -> None:
    report.save(tmp_path / "report.json")
    assert PrecisionReport.load(tmp_path / "report.json") == report
    entry = json.loads((tmp_path / "report.json").read_text())["layers"]["/preprocess/Cast"]
    assert entry["precision"] == "fp16"
    assert 200 < entry["max_abs"] <= 255


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"format": "asymformer_precision", "version": 9}'])
def test_what_is_no_report_says_how_to_make_one(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match="is no precision report.*make it with `asymformer precision MODEL"):
        PrecisionReport.load(path)


def test_the_command_prints_a_table_and_writes_what_export_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, report, out = tmp_path / "m.safetensors", tmp_path / "precision.json", tmp_path / "m.onnx"
    small_bundle().save(bundle)
    assert main(["precision", str(bundle), "--count", "1", "-o", str(report)]) == 0
    table = capsys.readouterr().out
    assert "untrained, 1 frames (simulated rooms): " in table
    assert "46 sums squares over the channels" in table
    assert "weights beyond 65504: in 0 of" in table
    assert "give --frames with a recording of your camera" in table
    assert main(["export", str(bundle), str(out), "--precision", "mixed", "--report", str(report)]) == 0
    assert ", mixed, sha256" in capsys.readouterr().out
    assert open_model(str(out)).precision == "mixed"
    assert open_backend("auto", str(out)).name == "onnxruntime cpu mixed"
    assert main(["precision", str(out)]) == 1
    assert "is in mixed precision: give its FP32 model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["export", "untrained", "out.onnx", "--precision", "mixed"],
            "make a report with `asymformer precision untrained",
        ),
        (["export", "untrained", "out.onnx", "--report", "r.json"], "--precision mixed and --report belong together"),
        (["export", "in.onnx", "out.onnx"], "in.onnx is an ONNX file already"),
        (["precision", "untrained", "--count", "0"], "count must be at least 1 frame"),
        (["precision", "untrained", "--frames", "nowhere"], "no folder 'nowhere'"),
    ],
)
def test_arguments_that_make_no_sense_are_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert told in capsys.readouterr().err


def test_a_report_of_another_model_is_refused(report: PrecisionReport) -> None:
    other = ModelBundle.untrained(SMALL, label_set("nyuv2_40"), seed=1, input_size=SIZE)
    with pytest.raises(ConfigurationError, match="the precision report is of model .* this one is"):
        report.check_model(other.sha256)


def test_weights_that_fp16_cannot_hold_are_refused_where_they_are_not_kept() -> None:
    model = export_model(amplified(1e7))
    with pytest.raises(ConfigurationError, match=rf"layer {EXPAND}MatMul has weights beyond FP16's 65504"):
        to_mixed(model, ())
    to_mixed(model, report_of(model).fp32_layers)


def types_of(graph: object) -> dict[str, int]:
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_each_node_has_the_precision_that_the_report_gives_it(model: object, report: PrecisionReport) -> None:
    mixed = to_mixed(model, report.fp32_layers)
    onnx.checker.check_model(mixed, full_check=True)
    types = types_of(mixed.graph)
    kept = set(report.fp32_layers)
    for node in mixed.graph.node:
        if node.op_type == "Cast":
            continue
        expected = TensorProto.FLOAT if node.name in kept else TensorProto.FLOAT16
        inputs = node.input[:1] if node.op_type == "Resize" else node.input
        tensors = [
            name for name in (*inputs, *node.output) if types.get(name) in (TensorProto.FLOAT, TensorProto.FLOAT16)
        ]
        assert all(types[name] == expected for name in tensors), node.name


def test_mixed_precision_keeps_names_inputs_and_outputs(model: object, report: PrecisionReport) -> None:
    mixed = to_mixed(model, report.fp32_layers)
    assert mixed.graph.input == model.graph.input
    assert mixed.graph.output == model.graph.output
    assert {node.name for node in model.graph.node} <= {node.name for node in mixed.graph.node}
    names = [node.name for node in mixed.graph.node]
    assert len(set(names)) == len(names)


def test_logits_of_mixed_precision_are_float32() -> None:
    from asymformer_ros.models.export import ExportOptions

    model = export_model(small_bundle(), ExportOptions(outputs="logits4"))
    mixed = to_mixed(model, ())
    assert types_of(mixed.graph)["logits"] == TensorProto.FLOAT
    feeds = {"rgb": np.full((1, *SIZE, 3), 90, np.uint8), "depth": np.full((1, *SIZE, 2), 9, np.uint8)}
    exact, rounded = (GraphSession(graph).run(None, feeds)[0] for graph in (model, mixed))
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=5e-3 * exact.std() + 1e-3)


def test_what_overflows_in_half_survives_in_mixed_precision() -> None:
    model = export_model(amplified(5e5))
    mixed, half = to_mixed(model, report_of(model).fp32_layers), to_mixed(model, ())
    feeds = described(model).feeds(*resize_frame(next(sample_frames(None, 1)), SIZE))
    (expected,) = GraphSession(model).run(["confidence"], feeds)
    kept, lost = (open_rounded(graph).run(["confidence"], feeds)[0] for graph in (mixed, half))
    assert np.abs(kept.astype(int) - expected).max() <= 1
    assert not lost.any()  # NaN


def open_rounded(mixed: object) -> object:
    return GraphSession(rounded_to_half(mixed), optimized=False)


def agreement_in_mixed_precision(bundle: ModelBundle, folder: Path, count: int) -> list[float]:
    """Share of pixels with the label of FP32, in the worst frame: by ONNX Runtime, and rounded as a GPU does."""
    frames, model = list(sample_frames(folder, count)), export_model(bundle)
    opened = described(model)
    mixed = to_mixed(model, analyse_model(opened, frames[:1], "the first").fp32_layers)
    exact, sessions = GraphSession(model), (GraphSession(mixed), open_rounded(mixed))
    worst = [1.0, 1.0]
    for frame in frames:
        feeds = opened.feeds(*resize_frame(frame, bundle.card.input_size))
        (labels,) = exact.run(["labels"], feeds)
        for at, session in enumerate(sessions):
            worst[at] = min(worst[at], float((session.run(["labels"], feeds)[0] == labels).mean()))
    return worst


def test_mixed_precision_of_a_small_network_agrees(recording: Path) -> None:
    torch.manual_seed(5)
    bundle = small_bundle((256, 320))
    for tensor in bundle.network.parameters():
        tensor.data.add_(torch.randn_like(tensor) * 0.05)  # away from an untrained network's near-ties
    worst = agreement_in_mixed_precision(bundle, recording, 3)
    assert min(worst) >= 0.995


@pytest.mark.slow
def test_mixed_precision_of_the_published_network_agrees(rendered: Path) -> None:
    network = AsymFormer()
    network.load_state_dict(translate_published(published_state()))
    bundle = ModelBundle(small_bundle((256, 320)).card, network)
    worst = agreement_in_mixed_precision(bundle, rendered, 2)
    assert min(worst) >= 0.995


def test_frames_are_spread_over_the_recording(rendered: Path) -> None:
    recording = RgbdRecording(rendered)
    frames = list(sample_frames(rendered, 2))
    assert [np.array_equal(frame.rgb, recording[at].rgb) for frame, at in zip(frames, (0, 3), strict=True)] == [
        True
    ] * 2
    simulated = list(sample_frames(None, 3))
    assert all(frame.size == (480, 640) and np.isnan(frame.depth).any() for frame in simulated)
    assert not np.array_equal(simulated[0].rgb, simulated[1].rgb)
