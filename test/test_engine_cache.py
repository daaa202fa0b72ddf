"""The cache of engines: what is used again, what is stale and why, two processes, folders not to write in."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from asymformer_ros.engine.cache import LOCK, MANIFEST, PLAN, Engine, EngineCache, Stale, default_folder
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.disk import StorageError
from asymformer_ros.engine.manifest import EngineIdentity, EngineManifest, file_sha256
from asymformer_ros.engine.verify import Verification
from asymformer_ros.errors import BackendError, ConfigurationError

ROOT = Path(__file__).resolve().parents[1]
IDENTITY = EngineIdentity(
    model_name="nyu",
    model_sha256="a" * 64,
    precision="fp16",
    shapes={"rgb": (1, 480, 640, 3), "depth": (1, 480, 640, 2)},
    builder="tensorrt",
    builder_version="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    multiprocessors=16,
    memory_gib=64,
)
PASSED = Verification(frames=4, agreement=0.9991, finite=True, fp32_convolutions=0)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def stored(cache: EngineCache, identity: EngineIdentity = IDENTITY, content: bytes = b"plan" * 1000) -> Engine:
    with cache.locked(identity, BuildContext()) as slot:
        plan = slot / ".engine.1.tmp"
        plan.write_bytes(content)
        return cache.store(slot, plan, manifest(identity, plan))


def manifest(identity: EngineIdentity, plan: Path) -> EngineManifest:
    return EngineManifest(
        identity=identity,
        served_precision="mixed",
        plan_bytes=plan.stat().st_size,
        plan_sha256=file_sha256(plan),
        created="2026-01-01T00:00:00+00:00",
        build_seconds=123.4,
        precisions={"fp16": 90, "fp32": 10},
        verification=PASSED,
        notes=("fp16 engine refused: its answers have NaN or infinity",),
    )


def test_what_is_stored_is_found(cache: EngineCache) -> None:
    engine = stored(cache)
    found = cache.find(IDENTITY)
    assert found == engine
    assert engine.plan.read_bytes() == b"plan" * 1000
    assert [found for _, found in cache.survey()] == [engine]
    assert sorted(path.name for path in engine.plan.parent.iterdir()) == sorted([PLAN, MANIFEST, LOCK])


def test_an_empty_cache_has_no_reasons(cache: EngineCache) -> None:
    assert cache.find(IDENTITY) == Stale(())
    assert list(cache.survey()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shapes": {"rgb": (1, 480, 640, 3)}}, "takes inputs of shapes rgb 1x480x640x3, depth 1x480x640x2, now it is"),
        ({"builder_version": "10.13.3"}, "the engine was built by version 10.3.0, now it is 10.13.3"),
        ({"compute_capability": "7.2"}, "the engine is for compute capability 8.7, now it is 7.2"),
        ({"memory_gib": 32}, "the engine is for a GPU whose memory in GiB is 64, now it is 32"),
        ({"pinned": ("/a", "/b")}, "the engine keeps in FP32 none, now it is 2 layers"),
        ({"package_version": "99.0"}, ", now it is 99.0"),
        ({"model_sha256": "a" * 12 + "b" * 52}, "the model has changed: the engine is of the model with hash aaaa"),
    ],
)
def test_each_difference_makes_it_stale_and_is_a_sentence(
    cache: EngineCache, change: dict[str, object], told: str
) -> None:
    stored(cache)
    found = cache.find(replace(IDENTITY, **change))  # type: ignore[arg-type]
    assert isinstance(found, Stale)
    (reason,) = found.reasons
    assert told in reason


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp32"},
        {"builder": "tensorrt_rtx"},
        {"model_sha256": "b" * 64},
        {"shapes": {"rgb": (3, 480, 640, 3), "depth": (3, 480, 640, 2)}},
        {"gpu": "NVIDIA GeForce RTX 4090", "multiprocessors": 128},
        {"multiprocessors": 8, "memory_gib": 8},
        {"gpu": "", "multiprocessors": 0},
    ],
)
def test_another_model_precision_builder_batch_or_gpu_stands_beside_it(
    cache: EngineCache, change: dict[str, str]
) -> None:
    other = replace(IDENTITY, **change)  # type: ignore[arg-type]
    assert stored(cache).plan != stored(cache, other).plan
    assert isinstance(cache.find(IDENTITY), Engine)
    assert isinstance(cache.find(other), Engine)


def test_a_copied_slot_of_another_precision_or_builder_is_stale(cache: EngineCache) -> None:
    engine = stored(cache)
    wanted = replace(IDENTITY, precision="fp32", builder="tensorrt_rtx", gpu="Xavier", multiprocessors=8)
    engine.plan.parent.rename(cache.slot(wanted))
    found = cache.find(wanted)
    assert isinstance(found, Stale)
    assert found.reasons == (
        "the engine was built for precision fp16, now it is fp32",
        "the engine was built by tensorrt, now it is tensorrt_rtx",
        "the engine was built on GPU Orin, now it is Xavier",
        "the engine is for a GPU whose number of multiprocessors is 16, now it is 8",
    )


def test_an_engine_of_the_layout_before_is_named(cache: EngineCache) -> None:
    slot, old = stored(cache).plan.parent, cache.folder / "nyu-aaaaaaaaaaaa-fp16-tensorrt"
    slot.rename(old)
    assert cache.find(IDENTITY) == Stale((f"{old} is of an older layout and can be deleted",))


def test_several_reasons_are_all_told(cache: EngineCache) -> None:
    stored(cache)
    found = cache.find(replace(IDENTITY, builder_version="11.0", compute_capability="7.2"))
    assert isinstance(found, Stale)
    assert len(found.reasons) == 2


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda plan: plan.write_bytes(plan.read_bytes()[:-1]), "its plan has 3999 bytes instead of 4000"),
        (lambda plan: plan.write_bytes(b"x" + plan.read_bytes()[1:]), "its plan is damaged"),
        (lambda plan: plan.unlink(), "its plan is missing"),
    ],
)
def test_a_damaged_plan_is_stale(cache: EngineCache, damage: object, told: str) -> None:
    damage(stored(cache).plan)  # type: ignore[operator]
    found = cache.find(IDENTITY)
    assert isinstance(found, Stale)
    assert told in found.reasons[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:100],
        lambda _: "",
        lambda _: "[1, 2]",
        lambda _: "\x00\xff",
        lambda text: json.dumps({**json.loads(text), "version": 99}),
        lambda text: json.dumps({**json.loads(text), "surprise": 1}),
        lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != "identity"}),
        lambda text: json.dumps({**json.loads(text), "identity": {"gpu": "Orin"}}),
    ],
)
def test_a_manifest_that_cannot_be_read_is_stale(cache: EngineCache, change: object) -> None:
    path = stored(cache).plan.with_name(MANIFEST)
    path.write_text(change(path.read_text()), encoding="latin-1")  # type: ignore[operator]
    found = cache.find(IDENTITY)
    assert isinstance(found, Stale)
    assert found.reasons[0].startswith("its manifest cannot be read: ")
    assert list(cache.survey()) == [(path.parent.name, found)]


def test_an_engine_that_was_never_verified_is_found_only_where_that_is_enough(cache: EngineCache) -> None:
    with cache.locked(IDENTITY, BuildContext()) as slot:
        plan = slot / ".engine.1.tmp"
        plan.write_bytes(b"plan")
        cache.store(slot, plan, replace(manifest(IDENTITY, plan), verification=None))
    assert isinstance(cache.find(IDENTITY, verified=False), Engine)
    found = cache.find(IDENTITY)
    assert isinstance(found, Stale)
    assert "never verified" in found.reasons[0]


def test_a_manifest_survives_its_file() -> None:
    here = Path(__file__)
    assert EngineManifest.from_json(manifest(IDENTITY, here).to_json()) == manifest(IDENTITY, here)


def test_a_manifest_whose_figures_are_text_is_refused() -> None:
    text = manifest(IDENTITY, Path(__file__)).to_json()
    assert '"agreement": 0.99' in text
    with pytest.raises(ValueError, match="frames and agreement are numbers"):
        EngineManifest.from_json(re.sub(r'"agreement": [0-9.]+', '"agreement": "all"', text))


def test_a_cache_that_cannot_be_written_names_folder_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = EngineCache(tmp_path / "file" / "engines")
    with pytest.raises(ConfigurationError, match=r"file/engines.*cannot be written.*`engine_cache`.*`--cache`"):
        stored(cache)


def test_a_file_system_without_locks_is_a_cache_that_cannot_be_written(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"engines.*cannot be written \(No locks available"):
        stored(cache)


def test_a_home_that_nobody_has_is_a_folder_of_that_name() -> None:
    assert EngineCache("~nobody_has_this/engines").folder == Path("~nobody_has_this/engines")


_HOLD = """
import sys, time
from pathlib import Path
from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.disk import StorageError
from test_engine_cache import IDENTITY
cache = EngineCache(Path(sys.argv[1]))
with cache.locked(IDENTITY, BuildContext()):
    print("locked", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _holder(cache: EngineCache, seconds: float) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", _HOLD, str(cache.folder), str(seconds)]
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'test'}"}
    holder = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    return holder


def test_a_second_process_waits_and_says_so(cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with _holder(cache, 1.0) as holder, cache.locked(IDENTITY, BuildContext()):
        assert holder.wait(5) == 0
    assert caplog.messages == [f"another process builds {cache.slot(IDENTITY).name}: waiting for it (0 s)"]


def test_the_lock_of_a_killed_process_is_free(cache: EngineCache) -> None:
    with _holder(cache, 60) as holder:
        holder.kill()
        holder.wait()
        start = time.monotonic()
        with cache.locked(IDENTITY, BuildContext()):
            assert time.monotonic() - start < 2


def test_waiting_can_be_cancelled(cache: EngineCache) -> None:
    context = BuildContext()
    threading.Timer(0.5, context.cancel).start()
    with _holder(cache, 60) as holder:
        start = time.monotonic()
        with pytest.raises(BackendError, match="was cancelled"), cache.locked(IDENTITY, context):
            pass
        assert time.monotonic() - start < 2
        holder.kill()


@pytest.mark.parametrize(
    ("value", "folder"),
    [
        ("/elsewhere", Path("/elsewhere/asymformer_ros/engines")),
        ("", Path("/home/someone/.cache/asymformer_ros/engines")),
        ("relative", Path("/home/someone/.cache/asymformer_ros/engines")),
    ],
)
def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, value: str, folder: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_folder() == folder
