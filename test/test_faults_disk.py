"""A disk that is full or read-only, and no home: one sentence, and what was there before is still whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asymformer_ros.engine.disk import temporary_folder
from asymformer_ros.errors import AsymformerError, CheckpointError
from asymformer_ros.frames.images import read_rgb, write_png
from asymformer_ros.models.catalogue import data_folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "full": (fill, "No space left on device"),
    "read-only": (read_only, "Read-only file system"),
}


def test_the_folder_of_a_build_that_was_killed_goes_with_the_next_build_and_one_in_use_stays(tmp_path: Path) -> None:
    code = "import time; from asymformer_ros.engine import disk\nwith disk.temporary_folder(): print(), time.sleep(99)"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    builds = []
    for _ in range(2):
        builds.append(subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE))
        assert builds[-1].stdout is not None
        assert builds[-1].stdout.readline() == b"\n"
    assert len(list(tmp_path.iterdir())) == 2
    builds[0].kill()
    builds[0].wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        with temporary_folder() as folder:
            assert len(list(tmp_path.iterdir())) == 2
        assert not folder.exists()
    builds[1].kill()
    builds[1].communicate()


@pytest.mark.parametrize(("breaks", "told"), BROKEN.values(), ids=BROKEN)
def test_a_picture_that_cannot_be_written_leaves_the_old_one(breaks: Any, told: str, disk: Path) -> None:
    write_png(disk / "a.png", np.full((4, 4, 3), 7, np.uint8))
    breaks(disk)
    with pytest.raises(AsymformerError, match=rf"cannot write '.*a.png': {told}"):
        write_png(disk / "a.png", np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8))
    assert (read_rgb(disk / "a.png") == 7).all()
    assert {path.name for path in disk.iterdir()} <= {"a.png", "filler"}


@pytest.mark.parametrize(("breaks", "told"), BROKEN.values(), ids=BROKEN)
def test_a_bundle_that_cannot_be_written_leaves_the_old_one(breaks: Any, told: str, disk: Path) -> None:
    pytest.importorskip("torch", reason="makes bundles")
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.opening import open_bundle

    bundle = open_bundle("demo")
    file = disk / "mine.safetensors"
    file.write_bytes(b"old")
    breaks(disk)
    with pytest.raises(CheckpointError, match=rf"cannot write .*mine.safetensors: {told}"):
        ModelBundle(bundle.card, bundle.network).save(file)
    assert file.read_bytes() == b"old"
    assert {path.name for path in disk.iterdir()} <= {file.name, "filler"}


def test_an_engine_that_cannot_be_stored_whole_is_none(disk: Path) -> None:
    from test_engine_cache import IDENTITY, manifest, stored

    from asymformer_ros.engine.cache import EngineCache, Stale
    from asymformer_ros.engine.context import BuildContext

    cache = EngineCache(disk / "engines")
    stored(cache)
    with cache.locked(IDENTITY, BuildContext()) as slot:
        plan = slot / ".engine.1.tmp"
        plan.write_bytes(b"new" * 1000)
        made = replace(manifest(IDENTITY, plan), notes=("more than the old one frees" * 2000,))
        fill(disk)
        with pytest.raises(AsymformerError, match="disk/engines.*cannot be written .No space left .*`engine_cache`"):
            cache.store(slot, plan, made)
    assert cache.find(IDENTITY) == Stale(())


def test_a_cache_on_a_read_only_disk_names_folder_and_remedy(disk: Path) -> None:
    from test_engine_cache import stored

    from asymformer_ros.engine.cache import EngineCache

    read_only(disk)
    with pytest.raises(AsymformerError, match=r"disk/engines.*cannot be written \(Read-only .*`engine_cache`"):
        stored(EngineCache(disk / "engines"))


def test_a_user_without_a_home_gets_a_folder_that_an_error_can_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(no_home))
    assert data_folder() == Path("/nonexistent/.local/share/asymformer_ros/weights")


@pytest.mark.ros
@pytest.mark.parametrize("home", ["/proc/none", ""])
def test_a_node_without_a_home_that_can_be_written_serves(
    home: str, start_peer: Any, start_node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    pytest.importorskip("onnxruntime", reason="a small ONNX file is served")
    from node_session import Session
    from test_onnxruntime import foreign_file

    peer, domain = start_peer()
    for name in ("ROS_LOG_DIR", "ROS_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    model = foreign_file(tmp_path / "tiny.onnx")
    session = Session(peer, start_node(domain, model=str(model))).listen("labels").connected()
    session.exchange()
    assert "the folder of ROS's logs cannot be written (failed to initialize logging: " in session.node.output
    assert session.node.stop() == 0


def test_an_export_without_room_for_temporary_files_names_their_folder(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="exports a bundle")
    pytest.importorskip("onnx", reason="exports a bundle")
    from asymformer_ros.cli.main import main

    fill(disk)
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    assert main(["export", "untrained", str(disk / "model.onnx")]) == 1
    assert f"temporary files {disk} cannot be written (No space left on device" in capsys.readouterr().err
