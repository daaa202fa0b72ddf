"""An engine from the cache, or built: with TensorRT-RTX on a machine without a GPU."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
psutil = pytest.importorskip("psutil", reason="psutil is not installed")
from engine_models import write_tiny

from asymformer_ros.engine import provide
from asymformer_ros.engine.api import Library
from asymformer_ros.engine.build import BuildResult, Progress, Watch
from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.engine.provide import EngineRequest, Source, choose_builder, provide_engine
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError

ROOT = Path(__file__).resolve().parents[1]
NO_GPU = NoGpu("no NVIDIA driver")
GPU = GpuInfo("NVIDIA GeForce RTX 3090", (8, 6), (12, 4))

needs_no_gpu = pytest.mark.skipif(isinstance(probe_gpu(), GpuInfo), reason="there is a GPU here")


class Tiny:
    """Requests for the tiny network, and what was asked for them."""

    def __init__(self, folder: Path) -> None:
        self.cache = EngineCache(folder / "engines")
        self.models = {
            "fp16": write_tiny(folder / "fp16.onnx", half=True),
            "fp32": write_tiny(folder / "fp32.onnx"),
        }
        self.built: list[str] = []
        self.told: list[str] = []
        self.request = EngineRequest(
            model_name="tiny",
            model_sha256="c" * 64,
            shapes={"x": (1, 3, 32, 32)},
            source=self._source,
            options=BuildOptions("tensorrt_rtx", "fp16"),
            precisions=("fp16", "fp32"),
        )

    def _source(self, library: Library, precision: str) -> Source:
        assert library.name == "tensorrt_rtx"
        self.built.append(precision)
        return Source(self.models[precision])

    def provide(self, watch: Watch | None = None, **changes: object) -> provide.Engine:
        request = replace(self.request, **changes)  # type: ignore[arg-type]
        return provide_engine(self.cache, request, watch or Watch(), self.told.append, "tensorrt_rtx")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


@needs_no_gpu
def test_the_second_call_builds_nothing(tiny: Tiny) -> None:
    first = tiny.provide()
    second = tiny.provide()
    assert second == first
    assert tiny.built == ["fp16"]
    assert first.manifest.served_precision == "fp16"
    assert first.manifest.identity.gpu == ""
    assert first.manifest.verification is None
    assert first.manifest.plan_bytes == first.plan.stat().st_size
    assert [line.rpartition(" ")[0] for line in tiny.told] == ["building tiny in fp16 with tensorrt_rtx"]


@needs_no_gpu
def test_a_stale_engine_is_built_again_and_the_reason_told(tiny: Tiny) -> None:
    tiny.provide()
    tiny.provide(options=BuildOptions("tensorrt_rtx", "fp16", workspace_mib=512))
    assert tiny.built == ["fp16", "fp16"]
    assert tiny.told[1] == (
        "the engine in the cache is stale: the engine was built with a workspace in MiB of 1024, now it is 512"
    )


@needs_no_gpu
def test_a_truncated_plan_is_built_again(tiny: Tiny) -> None:
    engine = tiny.provide()
    engine.plan.write_bytes(engine.plan.read_bytes()[:100])
    assert tiny.provide().plan.stat().st_size == engine.manifest.plan_bytes
    assert "its plan has 100 bytes" in tiny.told[1]


@needs_no_gpu
def test_a_killed_builder_leaves_no_engine_and_the_next_call_builds(tiny: Tiny) -> None:
    def kill(progress: Progress) -> None:
        psutil.Process().children()[0].kill()

    with pytest.raises(BackendError, match="SIGKILL"):
        tiny.provide(Watch(on_progress=kill))
    assert [path.name for path in tiny.cache.folder.glob("*/*")] == ["lock"]
    assert tiny.provide().plan.is_file()


@needs_no_gpu
def test_leftovers_of_a_killed_process_are_swept(tiny: Tiny) -> None:
    slot = tiny.provide().plan.parent
    (slot / "engine.plan").unlink()
    (slot / ".engine.99999.tmp").write_bytes(b"half a plan")
    (slot / "..engine.99999.tmp.99999.tmp").write_bytes(b"half a plan")
    tiny.provide()
    assert sorted(path.name for path in slot.iterdir()) == ["engine.plan", "lock", "manifest.json"]


def _with_gpu(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there was a GPU: the build stays real, in a child process that sees none."""
    monkeypatch.setattr(provide, "probe_gpu", lambda: GPU)


def _verdict(**verdicts: Verification) -> provide.Verifier:
    found = iter(verdicts.values())
    return lambda plan, built: next(found)


@needs_no_gpu
def test_an_engine_that_fails_its_verification_is_replaced_by_a_safer_one(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_gpu(tiny, monkeypatch)
    verifier = _verdict(fp16=Verification(2, 0.5, True), fp32=Verification(2, 1.0, True))
    engine = tiny.provide(verifier=verifier)
    assert tiny.built == ["fp16", "fp32"]
    assert (engine.manifest.identity.precision, engine.manifest.served_precision) == ("fp16", "fp32")
    assert engine.manifest.verification == Verification(2, 1.0, True)
    assert "fp16 engine refused" in engine.manifest.notes[0]
    assert tiny.provide(verifier=verifier) == engine


@needs_no_gpu
def test_no_engine_is_kept_where_none_can_be_trusted(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_gpu(tiny, monkeypatch)
    bad = Verification(2, 1.0, finite=False)
    with pytest.raises(BackendError, match="no engine of this model can be trusted here"):
        tiny.provide(verifier=_verdict(fp16=bad, fp32=bad))
    assert tiny.cache.contents() == ()


@needs_no_gpu
def test_a_verifier_that_raises_leaves_nothing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_gpu(tiny, monkeypatch)

    def fail(plan: Path, built: BuildResult) -> Verification:
        raise BackendError(f"{plan.name} cannot be loaded")

    with pytest.raises(BackendError, match="cannot be loaded"):
        tiny.provide(verifier=fail)
    assert [path.name for path in tiny.cache.folder.glob("*/*")] == ["lock"]


_PROVIDE = """
import sys
from pathlib import Path
from test_engine_provide import Tiny
tiny = Tiny(Path(sys.argv[1]))
tiny.provide()
print(tiny.built, tiny.told)
"""


@needs_no_gpu
def test_two_processes_build_once(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _PROVIDE, str(tmp_path)]
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'test'}"}
    both = [subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=path) for _ in range(2)]
    said = sorted(process.communicate(timeout=500)[0] for process in both)
    assert said[0].startswith("['fp16'] ['building tiny")
    assert said[1].startswith("[] ['another process builds tiny-cccccccccccc-fp16-tensorrt_rtx: waiting for it")
    assert "another process has built the engine: using it" in said[1]


def test_tensorrt_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="TensorRT builds only where its engine is to run, and there is no NVIDIA"):
        choose_builder("tensorrt", NO_GPU)


def test_auto_takes_what_can_build_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_builder("auto", NO_GPU).name == "tensorrt_rtx"
    monkeypatch.setattr(provide, "installed_builders", lambda: ("tensorrt",))
    with pytest.raises(BackendError, match=r"no builder .*tensorrt installed, no NVIDIA driver.*serve with torch"):
        choose_builder("auto", NO_GPU)
    monkeypatch.setattr(provide, "installed_builders", lambda: ())
    with pytest.raises(BackendError, match="no TensorRT installed"):
        choose_builder("auto", GPU)


def test_a_gpu_that_tensorrt_rtx_does_not_know_is_refused() -> None:
    with pytest.raises(BackendError, match=r"does not support NVIDIA H200 \(compute capability 9.0\)"):
        choose_builder("tensorrt_rtx", GpuInfo("NVIDIA H200", (9, 0), (12, 4)))
