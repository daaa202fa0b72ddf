"""How an engine is asked for in each version of TensorRT, against a stand-in with that version's own names."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_tensorrt import KNOWN, FakeTensorRt

from asymformer_ros.engine import api
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError

VERSIONS = sorted(set().union(*KNOWN.values()))
WEAK = ["8.6.1", "10.3.0", "10.7.0"]
TYPED = ["10.13.3.9", "10.16.1.11", "11.4.0.106"]
FLOAT_LAYERS = [
    ("/preprocess/Mul", "ELEMENTWISE", "FLOAT"),
    ("/stem/Conv", "CONVOLUTION", "FLOAT"),
    ("/preprocess/Shape", "SHAPE", "INT32"),
    ("/classify/ArgMax", "TOPK", "FLOAT"),
]
HALF_LAYERS = [*FLOAT_LAYERS[:1], ("/stem/Conv", "CONVOLUTION", "HALF")]


class Heard:
    """A Listener that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def phase(self, name: str, steps: int) -> None:
        self.events.append(("phase", name, steps))

    def step(self, name: str, done: int) -> bool:
        self.events.append(("step", name, done))
        return True

    def finish(self, name: str) -> None:
        self.events.append(("finish", name))

    def log(self, severity: str, message: str) -> None:
        self.events.append((severity, message))


def build(trt: FakeTensorRt, options: BuildOptions, heard: Heard | None = None) -> api.BuiltPlan:
    library = api.Library(options.builder, trt.__version__, trt)
    return api.build(library, Path("model.onnx"), options, heard or Heard())


def flags(trt: FakeTensorRt) -> list[str]:
    return [call[1] for call in trt.calls if call[0] == "set_flag"]


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


@pytest.mark.parametrize("version", WEAK)
def test_a_weakly_typed_build_sets_the_flag_and_pins_layers(version: str) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS)
    pinned = ("/preprocess/Mul", "/preprocess/Shape", "/gone/Identity")
    built = build(trt, BuildOptions(precision="fp16", pinned=pinned))
    assert flags(trt) == ["BuilderFlag.FP16", "BuilderFlag.OBEY_PRECISION_CONSTRAINTS"]
    assert [layer.name for layer in trt.layers if "precision" in layer._values] == ["/preprocess/Mul"]
    assert trt.layers[0].precision == "DataType.FLOAT"
    assert [call for call in trt.calls if call[0] == "set_output_type"] == [
        ("set_output_type", "/preprocess/Mul", 0, "DataType.FLOAT")
    ]
    assert built.unmatched == ("/gone/Identity",)


@pytest.mark.parametrize("version", WEAK)
def test_a_weakly_typed_build_without_pinned_layers_obeys_nothing(version: str) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS)
    build(trt, BuildOptions(precision="fp16"))
    assert flags(trt) == ["BuilderFlag.FP16"]


@pytest.mark.parametrize("version", TYPED)
def test_a_strongly_typed_build_takes_the_graphs_precision_and_sets_no_flag(version: str) -> None:
    trt = FakeTensorRt(version, HALF_LAYERS)
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


def test_timings_of_another_gpu_are_left_aside_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "timings.bin"
    path.write_bytes(b"of another GPU")
    trt, heard = FakeTensorRt("8.6.1", FLOAT_LAYERS, timings_fit=False), Heard()
    build(trt, BuildOptions(precision="fp32", timing_cache=path), heard)
    assert [call[1] for call in trt.calls if call[0] == "set_timing_cache"] == [b"of another GPU", b""]
    assert heard.events == [("WARNING", "timing cache timings.bin is of another TensorRT or GPU: starting a new one")]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_is_loaded_and_inspected_by_its_tensors_names(version: str) -> None:
    library = api.Library("tensorrt", version, FakeTensorRt(version, []))
    tensors, text = api.inspect(library, b"plan", Heard())
    assert tensors == (api.TensorInfo("rgb", (1, 8, 8, 3), "UINT8"),)
    assert text == '{"Layers": []}'
    with pytest.raises(BackendError, match="cannot load the engine that it built"):
        api.inspect(library, b"noise", Heard())
