"""An engine from the cache, or built: with TensorRT-RTX on a machine without a GPU."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
psutil = pytest.importorskip("psutil", reason="psutil is not installed")
from engine_models import kill_builder_of, write_tiny

from asymformer_ros.engine import provide, request
from asymformer_ros.engine.api import load_library
from asymformer_ros.engine.build import BuildResult, GraphFiles
from asymformer_ros.engine.cache import KERNELS, EngineCache
from asymformer_ros.engine.context import BuildContext, BuildProgress
from asymformer_ros.engine.disk import StorageError
from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.engine.provide import provide_engine
from asymformer_ros.engine.request import EngineRequest, choose_builder
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.model import Model
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION

ROOT = Path(__file__).resolve().parents[1]
NO_GPU = NoGpu("no NVIDIA driver")
GPU = GpuInfo("NVIDIA GeForce RTX 3090", (8, 6), (12, 4))

needs_no_gpu = pytest.mark.skipif(isinstance(probe_gpu(), GpuInfo), reason="there is a GPU here")


CARD = ModelCard("tiny", label_set("nyuv2_40"), PUBLISHED_NORMALIZATION, (32, 32))


class Tiny:
    """Requests for the tiny network, and what was asked for them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.cache = EngineCache(folder / "engines")
        self.graphs = {
            "fp16": write_tiny(folder / "fp16.onnx", half=True),
            "fp32": write_tiny(folder / "fp32.onnx"),
        }
        self.built: list[str] = []
        library = load_library("tensorrt_rtx")
        self.request = EngineRequest(Model(folder / "tiny", CARD, file_sha256="c" * 64), library, None)
        (monkeypatch or pytest.MonkeyPatch()).setattr(GraphFiles, "make", self._make)

    def _make(self, precision: str, context: BuildContext) -> tuple[Path, tuple[str, ...]]:
        self.built.append(precision)
        return self.graphs[precision], ()

    def provide(self, context: BuildContext | None = None, **changes: object) -> provide.Engine:
        request = replace(self.request, **changes)  # type: ignore[arg-type]
        return provide_engine(self.cache, request, context or BuildContext())


class Verdicts:
    """A GoldenCheck that finds what it is told."""

    def __init__(self, *found: Verification | BackendError) -> None:
        self._found = iter(found)

    def verify(self, plan: Path, context: BuildContext) -> Verification:
        found = next(self._found)
        if isinstance(found, BackendError):
            raise found
        return found


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Tiny:
    caplog.set_level("INFO")
    monkeypatch.setattr(request, "_can_be_surveyed", lambda model: False)
    return Tiny(tmp_path, monkeypatch)


def slot_files(tiny: Tiny) -> list[str]:
    return [path.name for path in tiny.cache.folder.glob("*/*")]


@needs_no_gpu
def test_the_second_call_builds_nothing(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    first = tiny.provide()
    second = tiny.provide()
    assert second == first
    assert tiny.built == ["fp16"]
    assert first.manifest.served_precision == "fp16"
    assert first.manifest.identity.gpu == ""
    assert first.manifest.verification is None
    assert first.manifest.plan_bytes == first.plan.stat().st_size
    assert [line.rpartition(" ")[0] for line in caplog.messages] == ["building tiny in fp16 with tensorrt_rtx"]


@needs_no_gpu
def test_how_much_memory_a_build_was_given_does_not_make_its_engine_another(tiny: Tiny) -> None:
    first = tiny.provide(workspace_mib=512)
    assert first.manifest.workspace_mib == 512
    assert tiny.provide() == first
    assert tiny.built == ["fp16"]


@needs_no_gpu
def test_an_optimization_level_is_a_record_until_another_one_is_asked_for(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    assert tiny.provide().manifest.optimization_level is None
    fast = tiny.provide(optimization_level=5)
    assert fast.manifest.optimization_level == 5
    assert tiny.provide(optimization_level=5) == tiny.provide() == fast
    assert tiny.built == ["fp16", "fp16"]
    assert "it was built with optimization level default, not 5" in caplog.text


@needs_no_gpu
def test_a_stale_engine_is_built_again_and_the_reason_told(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    manifest = tiny.provide().plan.with_name("manifest.json")
    manifest.write_text(manifest.read_text().replace(tiny.request.library.version, "0.9"))
    tiny.provide()
    assert tiny.built == ["fp16", "fp16"]
    assert caplog.messages[1].startswith(
        "the engine in the cache is stale: the engine was built by version 0.9, now it is"
    )


@needs_no_gpu
def test_kernels_that_were_compiled_for_the_old_plan_go_with_it(tiny: Tiny) -> None:
    plan = tiny.provide().plan
    plan.with_name(KERNELS).write_bytes(b"compiled at the first opening")
    tiny.provide()
    assert plan.with_name(KERNELS).exists()
    plan.unlink()
    tiny.provide()
    assert not plan.with_name(KERNELS).exists()


@needs_no_gpu
def test_an_engine_of_an_older_manifest_is_built_again_and_that_is_told(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = tiny.provide().plan.with_name("manifest.json")
    manifest.write_text(manifest.read_text().replace('"version": 2', '"version": 1'))
    tiny.provide()
    assert caplog.messages[1].endswith(
        "is stale: its manifest cannot be read: it is of version 1, this package writes version 2"
    )


@needs_no_gpu
def test_a_truncated_plan_is_built_again(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    engine = tiny.provide()
    engine.plan.write_bytes(engine.plan.read_bytes()[:100])
    assert tiny.provide().plan.stat().st_size == engine.manifest.plan_bytes
    assert "its plan has 100 bytes" in caplog.messages[1]


@needs_no_gpu
def test_a_killed_builder_leaves_no_engine_and_the_next_call_builds(tiny: Tiny) -> None:
    def kill(progress: BuildProgress) -> None:
        kill_builder_of(psutil.Process())

    with pytest.raises(BackendError, match="fp16 engine could not be built.*SIGKILL.*fp32 engine could not.*SIGKILL"):
        tiny.provide(BuildContext(kill))
    assert slot_files(tiny) == ["lock"]
    assert tiny.provide().plan.is_file()


@needs_no_gpu
def test_leftovers_of_a_killed_process_are_swept(tiny: Tiny) -> None:
    slot = tiny.provide().plan.parent
    (slot / "engine.plan").unlink()
    (slot / ".engine.99999.tmp").write_bytes(b"half a plan")
    (slot / "..engine.99999.tmp.99999.tmp").write_bytes(b"half a plan")
    tiny.provide()
    assert sorted(path.name for path in slot.iterdir()) == ["engine.plan", "lock", "manifest.json"]


@needs_no_gpu
def test_an_engine_that_fails_its_verification_is_replaced_by_a_safer_one(tiny: Tiny) -> None:
    check = Verdicts(Verification(2, 0.5, True), Verification(2, 1.0, True))
    engine = tiny.provide(check=check)
    assert tiny.built == ["fp16", "fp32"]
    assert (engine.manifest.identity.precision, engine.manifest.served_precision) == ("fp16", "fp32")
    assert engine.manifest.verification == Verification(2, 1.0, True)
    assert "fp16 engine refused" in engine.manifest.notes[0]
    assert tiny.provide(check=check) == engine


@needs_no_gpu
def test_a_precision_that_cannot_be_built_is_followed_by_a_safer_one(tiny: Tiny) -> None:
    """The builder refuses the graph, as TensorRT does where it has no kernel for a node."""
    tiny.graphs["fp16"] = tiny.graphs["fp32"]
    engine = tiny.provide(check=Verdicts(Verification(2, 1.0, True)))
    assert tiny.built == ["fp16", "fp32"]
    assert engine.manifest.served_precision == "fp32"
    assert engine.manifest.notes[0].startswith("fp16 engine could not be built: precision is fp16, but 0 of 1")


@needs_no_gpu
def test_a_disk_that_is_full_is_not_tried_with_another_precision(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("5 MB in the folder engines cannot be written: less")

    monkeypatch.setattr(provide, "build_plan", full)
    with pytest.raises(ConfigurationError, match="^5 MB in the folder engines cannot be written"):
        tiny.provide()
    assert tiny.built == ["fp16"]


@needs_no_gpu
def test_a_builder_that_crashes_in_one_precision_is_followed_by_a_safer_one(tiny: Tiny) -> None:
    def kill(progress: BuildProgress) -> None:
        if tiny.built == ["fp16"]:
            kill_builder_of(psutil.Process())

    engine = tiny.provide(BuildContext(kill))
    assert engine.manifest.served_precision == "fp32"
    assert "SIGKILL" in engine.manifest.notes[0]


@needs_no_gpu
@pytest.mark.parametrize(("timeout", "told"), [(0.0, "took longer"), (60.0, "was cancelled")])
def test_a_build_that_is_cancelled_or_takes_too_long_is_not_tried_in_another_precision(
    tiny: Tiny, timeout: float, told: str
) -> None:
    context = BuildContext(lambda progress: context.cancel() if timeout else None, timeout)
    with pytest.raises(BackendError, match=told):
        tiny.provide(context)
    assert tiny.built == ["fp16"]
    assert slot_files(tiny) == ["lock"]


@needs_no_gpu
def test_no_engine_is_kept_where_none_can_be_trusted(tiny: Tiny) -> None:
    bad = Verification(2, 1.0, finite=False)
    with pytest.raises(BackendError, match=r"trusted here \(fp16 engine refused.*; fp32 engine refused.*serve"):
        tiny.provide(check=Verdicts(bad, bad))
    assert list(tiny.cache.survey()) == []


@needs_no_gpu
def test_a_verification_that_raises_leaves_nothing(tiny: Tiny) -> None:
    with pytest.raises(BackendError, match="cannot be loaded"):
        tiny.provide(check=Verdicts(BackendError("the plan cannot be loaded")))
    assert slot_files(tiny) == ["lock"]


@needs_no_gpu
def test_fp32_convolutions_in_an_fp16_engine_are_told(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    build = provide.build_plan

    def in_fp32(*arguments: object) -> BuildResult:
        return replace(build(*arguments), fp32_convolutions=("/a", "/b"))  # type: ignore[arg-type]

    monkeypatch.setattr(provide, "build_plan", in_fp32)
    engine = tiny.provide(check=Verdicts(Verification(2, 1.0, True)))
    assert engine.manifest.notes[0] == "2 convolutions of the fp16 engine compute in FP32"


_PROVIDE = """
import logging, sys
from pathlib import Path
from test_engine_provide import Tiny
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
tiny = Tiny(Path(sys.argv[1]))
print(len(tiny.provide().manifest.notes), tiny.built)
"""


@needs_no_gpu
def test_two_processes_build_once(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _PROVIDE, str(tmp_path)]
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'test'}"}
    both = [subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=path) for _ in range(2)]
    waited, built = sorted(process.communicate(timeout=500)[0] for process in both)
    assert built.startswith("building tiny in fp16")
    assert built.endswith("['fp16']\n")
    assert waited.startswith("another process builds tiny-cccccccccccc-fp16-tensorrt_rtx-1x32x32x3-no-gpu: waiting")
    assert "another process has built the engine: using it" in waited
    assert waited.endswith("[]\n")


def test_tensorrt_without_a_gpu_is_refused() -> None:
    with pytest.raises(BackendError, match="TensorRT builds only where its engine is to run, and there is no NVIDIA"):
        choose_builder("tensorrt", NO_GPU)


def test_auto_takes_what_can_build_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_builder("auto", NO_GPU).name == "tensorrt_rtx"
    monkeypatch.setattr(request, "installed_builders", lambda: ("tensorrt",))
    with pytest.raises(BackendError, match=r"no builder .*there is no NVIDIA driver.*serve with torch"):
        choose_builder("auto", NO_GPU)
    monkeypatch.setattr(request, "installed_builders", lambda: ())
    with pytest.raises(BackendError, match="no TensorRT is installed"):
        choose_builder("auto", GPU)


def test_a_builder_that_cannot_be_imported_does_not_hide_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "installed_builders", lambda: ("tensorrt", "tensorrt_rtx"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert choose_builder("auto", GPU).name == "tensorrt_rtx"


def test_a_gpu_that_tensorrt_rtx_does_not_know_is_refused() -> None:
    with pytest.raises(BackendError, match=r"does not support NVIDIA H200 \(compute capability 9.0\)"):
        choose_builder("tensorrt_rtx", GpuInfo("NVIDIA H200", (9, 0), (12, 4)))
