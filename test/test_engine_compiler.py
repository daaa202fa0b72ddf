"""What is asked of TensorRT's builder beside the precision: memory, target, timings; and what is blamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_models import write_tiny
from fake_tensorrt import FLOAT_LAYERS, HALF_LAYERS, RTX, FakeTensorRt, Heard, build, flags

from asymformer_ros.engine import api, compiler
from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.system.limits import available_memory

ORIN = GpuInfo("Orin", (8, 7), (12, 6), integrated=True, multiprocessors=8, memory=8 << 30)
GEFORCE = GpuInfo("NVIDIA GeForce RTX 4090", (8, 9), (12, 6), multiprocessors=128, memory=24 << 30)


def limits(trt: FakeTensorRt) -> list[int]:
    return [call[2] for call in trt.calls if call[0] == "limit"]


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0.106"])
def test_scratch_memory_has_no_limit_on_a_gpu_with_memory_of_its_own(version: str) -> None:
    trt = FakeTensorRt(version, FLOAT_LAYERS)
    build(trt, BuildOptions(precision="fp32", gpu=GEFORCE))
    assert limits(trt) == []


def test_scratch_memory_is_half_of_what_is_free_where_the_gpu_shares_the_computers() -> None:
    trt = FakeTensorRt("10.3.0", FLOAT_LAYERS)
    build(trt, BuildOptions(precision="fp32", gpu=ORIN))
    (limit,) = limits(trt)
    assert limit == pytest.approx(available_memory() / 2, rel=0.2)


@pytest.mark.parametrize("gpu", [None, ORIN, GEFORCE])
def test_a_limit_that_is_asked_for_is_set(gpu: GpuInfo | None) -> None:
    trt = FakeTensorRt("10.3.0", FLOAT_LAYERS)
    build(trt, BuildOptions(precision="fp32", workspace_mib=512, gpu=gpu))
    assert limits(trt) == [512 << 20]


SHORT = "Skipping tactic 0 due to insuficient memory on requested size of 588251136 detected for tactic 0."
NONE = "Could not find any implementation for node {ForeignNode[/cma/Softmax.../cma/MatMul]}."


@pytest.mark.parametrize(
    ("workspace", "complaints", "told"),
    [
        (512, [("WARNING", SHORT), ("ERROR", NONE)], r"raise the workspace \(`--workspace`, now 512 MiB\)"),
        (512, [("ERROR", NONE)], r"raise the workspace"),
        (None, [("WARNING", SHORT), ("ERROR", NONE)], "the GPU has too little free memory: close other programs"),
        (None, [("ERROR", NONE)], r"could not build model.onnx$"),
    ],
)
def test_a_build_that_lacks_memory_says_what_to_do(
    workspace: int | None, complaints: list[tuple[str, str]], told: str
) -> None:
    trt = FakeTensorRt("10.3.0", FLOAT_LAYERS)
    trt.builds, trt.complaints = False, complaints
    with pytest.raises(BackendError, match=told):
        build(trt, BuildOptions(precision="fp32", workspace_mib=workspace, gpu=GEFORCE))


@pytest.mark.parametrize("level", [-1, 6])
def test_an_optimization_level_that_there_is_not_is_refused(level: int) -> None:
    with pytest.raises(ConfigurationError, match=f"optimization level is {level}: expected 0 to 5"):
        BuildOptions(optimization_level=level)


@pytest.mark.parametrize(
    ("capability", "asked"),
    [((7, 5), "SM75"), ((8, 9), "SM89"), ((12, 0), "SM120"), ((13, 7), "CURRENT")],
)
def test_tensorrt_rtx_builds_for_the_one_gpu_that_is_there(capability: tuple[int, int], asked: str) -> None:
    pytest.importorskip(RTX, reason="its names are needed")
    trt = FakeTensorRt(RTX, HALF_LAYERS)
    build(trt, BuildOptions(RTX, "fp16", gpu=GpuInfo("GeForce", capability, (12, 6))))
    assert ("set_compute_capability", f"ComputeCapability.{asked}", 0) in trt.calls
    assert trt.config.num_compute_capabilities == 1


def test_tensorrt_rtx_builds_engines_that_a_cuda_graph_can_hold() -> None:
    pytest.importorskip(RTX, reason="its names are needed")
    trt = FakeTensorRt(RTX, HALF_LAYERS)
    build(trt, BuildOptions(RTX, "fp16"))
    assert flags(trt) == ["BuilderFlag.REQUIRE_USER_ALLOCATION"]
    assert not [call for call in trt.calls if call[0] == "set_compute_capability"]


def test_a_parser_that_lacks_an_operator_is_to_blame_and_not_the_file(tmp_path: Path) -> None:
    trt = FakeTensorRt("10.3.0", FLOAT_LAYERS)
    trt.parses = False
    library = api.TensorRt("tensorrt", "10.3.0", trt)
    with pytest.raises(BackendError, match=r"10.3.0 cannot parse .*No importer.* though it is valid ONNX: use a newer"):
        compiler.compile_plan(library, write_tiny(tmp_path / "tiny.onnx"), BuildOptions(precision="fp32"), Heard())
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(BackendError, match=r"damaged.onnx cannot be parsed .*: export the model again"):
        compiler.compile_plan(library, damaged, BuildOptions(precision="fp32"), Heard())


def test_timings_of_another_gpu_are_left_aside_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "timings.bin"
    path.write_bytes(b"of another GPU")
    trt, heard = FakeTensorRt("8.6.1", FLOAT_LAYERS, timings_fit=False), Heard()
    build(trt, BuildOptions(precision="fp32", timing_cache=path), heard)
    assert [call[1] for call in trt.calls if call[0] == "set_timing_cache"] == [b"of another GPU", b""]
    assert heard.events == [("WARNING", "timing cache timings.bin is of another TensorRT or GPU: starting a new one")]


def test_timings_of_which_no_cache_can_be_made_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "timings.bin"
    path.write_bytes(b"damaged")
    trt, heard = FakeTensorRt("8.6.1", FLOAT_LAYERS), Heard()
    trt.timings_made = False
    build(trt, BuildOptions(precision="fp32", timing_cache=path), heard)
    assert [call[1] for call in trt.calls if call[0] == "set_timing_cache"] == [b""]
    assert heard.events == [("WARNING", "timing cache timings.bin is of another TensorRT or GPU: starting a new one")]
    assert path.read_bytes() == b"timings"


def test_timings_that_cannot_be_read_or_written_end_no_build(tmp_path: Path) -> None:
    (tmp_path / "timings.bin").mkdir()
    trt, heard = FakeTensorRt("8.6.1", FLOAT_LAYERS), Heard()
    assert build(trt, BuildOptions(precision="fp32", timing_cache=tmp_path / "timings.bin"), heard).plan == b"plan"
    told = [message for severity, message in heard.events if severity == "WARNING"]
    assert len(told) == 2
    assert "cannot be read (Is a directory): starting a new one" in told[0]
    assert "cannot be written (Is a directory): the next build starts anew" in told[1]
