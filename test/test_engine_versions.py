"""How an engine is asked for in each version of TensorRT, against a stand-in with that version's own names."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_tensorrt import FLOAT_LAYERS, HALF_LAYERS, KNOWN, FakeTensorRt, Heard, build, flags

from asymformer_ros.engine import api
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError

VERSIONS = sorted(set().union(*KNOWN.values()))
WEAK = ["8.6.1", "10.3.0", "10.7.0"]
TYPED = ["10.13.3.9", "10.16.1.11", "11.4.0.106"]


def test_both_kinds_of_version_are_all_versions() -> None:
    assert sorted([*WEAK, *TYPED]) == VERSIONS


@pytest.mark.parametrize(
    ("version", "network_flags"), [("8.6.1", 1), ("10.3.0", 1), ("10.13.3.9", 2), ("11.4.0.106", 2)]
)
def test_the_network_is_of_explicit_batch_or_strongly_typed(version: str, network_flags: int) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS)
    built = build(trt, BuildOptions(precision="fp32"))
    assert ("create_network", network_flags) in trt.calls
    assert not [call for call in trt.calls if call[0] == "limit"]
    assert built.plan == b"plan"
    assert built.inputs == (api.TensorInfo("rgb", (1, 8, 8, 3), "UINT8"),)
    assert flags(trt) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_fp32_is_not_tf32(version: str, precision: str) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS if precision == "fp32" or version in WEAK else HALF_LAYERS)
    build(trt, BuildOptions(precision=precision))
    assert (("clear_flag", "BuilderFlag.TF32") in trt.calls) is (precision == "fp32")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", [None, 5])
def test_an_optimization_level_is_set_where_it_is_asked_for(version: str, level: int | None) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS)
    build(trt, BuildOptions(precision="fp32", optimization_level=level))
    assert trt.config._values.get("builder_optimization_level") == level


@pytest.mark.parametrize("version", WEAK)
def test_a_weakly_typed_build_sets_the_flag_and_pins_layers(version: str) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS)
    pinned = ("/preprocess/Mul", "/preprocess/Shape", "/gone/Identity")
    built = build(trt, BuildOptions(precision="fp16", pinned=pinned))
    assert flags(trt) == ["BuilderFlag.FP16", "BuilderFlag.PREFER_PRECISION_CONSTRAINTS"]
    assert [layer.name for layer in trt.layers if "precision" in layer._values] == ["/preprocess/Mul"]
    assert trt.layers[0].precision == "DataType.FLOAT"
    assert [call for call in trt.calls if call[0] == "set_output_type"] == [
        ("set_output_type", "/preprocess/Mul", 0, "DataType.FLOAT")
    ]
    assert built.unmatched == ("/gone/Identity",)


@pytest.mark.parametrize("version", WEAK)
def test_layers_that_only_move_or_cast_or_normalise_are_not_pinned_and_not_missed(version: str) -> None:
    kinds = {
        "Cast": "CAST",
        "Transpose": "SHUFFLE",
        "Split": "SLICE",
        "Concat": "CONCATENATION",
        "Norm": "NORMALIZATION",
    }
    trt = FakeTensorRt(version, [*FLOAT_LAYERS, *((f"/block/{name}", kind, "FLOAT") for name, kind in kinds.items())])
    built = build(trt, BuildOptions(precision="fp16", pinned=tuple(f"/block/{name}" for name in kinds)))
    assert not [layer for layer in trt.layers if "precision" in layer._values]
    assert built.unmatched == ()


@pytest.mark.parametrize("version", WEAK)
def test_a_weakly_typed_build_without_pinned_layers_prefers_nothing(version: str) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS)
    build(trt, BuildOptions(precision="fp16"))
    assert flags(trt) == ["BuilderFlag.FP16"]


@pytest.mark.parametrize("version", TYPED)
@pytest.mark.parametrize("tells_types", [False, True])
def test_a_strongly_typed_build_takes_the_graphs_precision_and_sets_no_flag(version: str, tells_types: bool) -> None:
    trt = FakeTensorRt(version, HALF_LAYERS)
    trt.tells_types = tells_types
    build(trt, BuildOptions(precision="fp16", pinned=("/preprocess/Mul",)))
    assert flags(trt) == []


@pytest.mark.parametrize("version", TYPED)
def test_a_strongly_typed_build_refuses_a_graph_of_another_precision(version: str) -> None:
    with pytest.raises(BackendError, match="precision is fp16, but 0 of 1 convolutions"):
        build(FakeTensorRt(version, FLOAT_LAYERS), BuildOptions(precision="fp16"))
    with pytest.raises(BackendError, match="precision is fp32, but 1 of 1 convolutions"):
        build(FakeTensorRt(version, HALF_LAYERS), BuildOptions(precision="fp32"))


@pytest.mark.parametrize("version", VERSIONS)
def test_progress_is_heard_where_the_version_tells_it(version: str) -> None:
    heard = Heard()
    build(FakeTensorRt(version, FLOAT_LAYERS), BuildOptions(precision="fp32"), heard)
    told = [("phase", "Building engine", 2), ("step", "Building engine", 1), ("finish", "Building engine")]
    assert heard.events == ([] if version == "8.6.1" else told)


@pytest.mark.parametrize("version", VERSIONS)
def test_kernel_timings_are_read_and_renewed(version: str, tmp_path: Path) -> None:
    path = tmp_path / "timings.bin"
    options = BuildOptions(precision="fp32", timing_cache=path)
    first = FakeTensorRt(version, FLOAT_LAYERS)
    build(first, options)
    assert ("set_timing_cache", b"") in first.calls
    assert path.read_bytes() == b"timings"
    second = FakeTensorRt(version, FLOAT_LAYERS)
    build(second, options)
    assert ("set_timing_cache", b"timings") in second.calls


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_is_loaded_and_inspected(version: str) -> None:
    library = api.TensorRt("tensorrt", version, FakeTensorRt(version, []))
    assert api.inspect_plan(library, b"plan", None) == '{"Layers": []}'
    with pytest.raises(BackendError, match="cannot load the engine that it built"):
        api.inspect_plan(library, b"noise", None)
