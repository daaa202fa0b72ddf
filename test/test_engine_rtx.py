"""What is asked of the builder, tried on TensorRT-RTX itself, which builds without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
from engine_models import write_tiny
from fake_tensorrt import Heard

from asymformer_ros.engine import compiler
from asymformer_ros.engine.api import TensorRt, load_library, make_logger
from asymformer_ros.engine.build import build_plan
from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.engine.layer_types import set_precision
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError

RTX = "tensorrt_rtx"
TURING = GpuInfo("NVIDIA GeForce RTX 2080 Ti", (7, 5), (12, 6), multiprocessors=68, memory=11 << 30)


class Opened:
    """A builder's configuration and a parsed network of one convolution."""

    def __init__(self, folder: Path, *, half: bool) -> None:
        self.library: TensorRt = load_library(RTX)
        trt, self.heard = self.library.trt, Heard()
        self.logger = make_logger(trt, self.heard)
        self.builder = trt.Builder(self.logger)
        self.network: Any = self.builder.create_network(compiler._network_flags(self.library))
        compiler._parse(self.library, self.network, write_tiny(folder / "tiny.onnx", half=half), self.logger)
        self.config: Any = self.builder.create_builder_config()

    def flag(self, name: str) -> bool:
        return bool(self.config.get_flag(getattr(self.library.trt.BuilderFlag, name)))

    def ask(self, options: BuildOptions) -> None:
        set_precision(self.library, self.network, self.config, options)
        compiler._configure(self.library.trt, self.config, options, self.heard)


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("fp16", True)])
def test_tf32_is_on_until_fp32_clears_it(tmp_path: Path, precision: str, tf32: bool) -> None:
    opened = Opened(tmp_path, half=precision == "fp16")
    assert opened.flag("TF32")
    opened.ask(BuildOptions(RTX, precision))
    assert opened.flag("TF32") is tf32


def test_the_flag_for_cuda_graphs_the_one_target_and_the_level_are_taken(tmp_path: Path) -> None:
    opened = Opened(tmp_path, half=True)
    opened.ask(BuildOptions(RTX, "fp16", gpu=TURING, optimization_level=2))
    config, capability = opened.config, opened.library.trt.ComputeCapability
    assert opened.flag("REQUIRE_USER_ALLOCATION")
    assert (config.num_compute_capabilities, config.get_compute_capability(0)) == (1, capability.SM75)
    assert config.builder_optimization_level == 2


def test_without_a_gpu_no_target_is_named(tmp_path: Path) -> None:
    opened = Opened(tmp_path, half=True)
    opened.ask(BuildOptions(RTX, "fp16"))
    assert opened.config.num_compute_capabilities == 0


def test_a_damaged_timing_cache_is_replaced(tmp_path: Path) -> None:
    opened, path = Opened(tmp_path, half=True), tmp_path / "timings.bin"
    path.write_bytes(b"damaged")
    compiler._read_timings(opened.config, path, opened.heard)
    compiler._write_timings(opened.config, path, opened.heard)


@pytest.mark.parametrize("capability", [(7, 5), (8, 6), (12, 0)])
def test_a_plan_is_built_for_one_gpu(tmp_path: Path, capability: tuple[int, int]) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("with a GPU here the plan of another one would be loaded, which must fail")
    model = write_tiny(tmp_path / "tiny.onnx", half=True)
    options = BuildOptions(RTX, "fp16", gpu=GpuInfo("GeForce", capability, (12, 6)))
    assert compiler.compile_plan(load_library(RTX), model, options, Heard()).plan is not None


def test_an_engine_that_cannot_be_loaded_on_this_computer_is_told_by_the_child(tmp_path: Path) -> None:
    if not isinstance(probe_gpu(), NoGpu):
        pytest.skip("there is a GPU here")
    model = write_tiny(tmp_path / "tiny.onnx", half=True)
    with pytest.raises(BackendError, match="cannot load the engine that it built|cannot start"):
        build_plan(model, tmp_path / "tiny.plan", BuildOptions(RTX, "fp16", gpu=TURING))
