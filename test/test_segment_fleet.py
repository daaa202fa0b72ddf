"""`asymformer segment --on dask://...`: two worker processes on loopback, killed, poisoned, out of disk; and S3."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
pytest.importorskip("rosbags", reason="needs rosbags")
pytest.importorskip("tqdm", reason="needs tqdm")
pytest.importorskip("distributed", reason="needs Dask")
from bag_files import START, STEP, write_bag
from rgbd_frames import frames
from test_cli_segment import lines, segment

from asymformer_ros.datasets.unlabelled import SourceSpec, open_source
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.recordings.job import known_source

FRAMES = frames(24)
CHUNK = 0.4  # seconds: four frames
PATIENCE = 120.0


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"dask://127.0.0.1:{self._port}"
        self._folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        self._scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")

    def add_worker(self, *more: str) -> None:
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60", *more)
        local = ("--local-directory", str(self._folder))
        self.workers.append(self._start("worker", f"tcp://127.0.0.1:{self._port}", *options, *local))

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{kind}{len(self.workers)}.log").open("wb")
        path = os.pathsep.join(sys.path)
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )

    def close(self) -> None:
        for process in (*self.workers, self._scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def s3() -> Iterator[object]:
    """A file system of an S3 server on loopback, with the bucket `fleet`."""
    server_of = pytest.importorskip("moto.server", reason="needs moto and Flask")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    place = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(place, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    system.mkdir("fleet")
    yield system
    server.stop()
    for name in (*place, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del os.environ[name]
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def cluster(s3: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, which take the place of S3 from their environment."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    for _ in range(2):
        made.add_worker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", FRAMES)


@pytest.fixture(scope="module")
def single(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All files of the run in one process."""
    out = tmp_path_factory.mktemp("single") / "out"
    assert segment(bag, "-o", out, "--chunk", CHUNK, "--bag", "--quiet") == 0
    return content(out)


def content(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command as a process."""
    command = [sys.executable, "-m", "asymformer_ros.cli.main", "segment", *map(str, arguments), "--model", "demo"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)


def test_workers_that_are_killed_cost_no_frame_and_double_none(
    cluster: Cluster, bag: Path, single: dict[str, bytes], tmp_path: Path
) -> None:
    """Both are killed in the middle of a chunk, one after the other; another comes; every byte is as of one process."""
    out = tmp_path / "out"
    options = (bag, "-o", out, "--chunk", CHUNK, "--bag", "--on", cluster.address)
    with started(*options) as command:
        for number, so_many in enumerate((2, 10)):
            wait_until(lambda so_many=so_many: len(list(out.glob("labels/*.png"))) >= so_many, "labels")
            cluster.workers[number].send_signal(signal.SIGKILL)
            cluster.add_worker()
        _, said = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, said
    assert content(out) == single


KILLED = """
import os, sys
from asymformer_ros.cli.main import main
def kill_at(call, number):
    left = iter(range(int(number)))
    def renamed(*names):
        if next(left, None) is None:
            os.kill(os.getpid(), 9)
        original(*names)
    original = getattr(os, call)
    setattr(os, call, renamed)
kill_at(*sys.argv[1].split("="))
main(sys.argv[2:])
"""


@pytest.mark.parametrize("moment", ["replace=0", "replace=20", "replace=40", "rename=0"])
def test_a_process_that_is_killed_before_a_file_is_whole_leaves_nothing_beside_the_results(
    bag: Path, single: dict[str, bytes], tmp_path: Path, moment: str
) -> None:
    """While the manifest is written, the first and the second frames' files, the bag."""
    options = ("segment", bag, "-o", tmp_path / "out", "--chunk", CHUNK, "--bag", "--quiet", "--model", "demo")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, moment, *map(str, options)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert segment(*options[1:-2]) == 0
    assert content(tmp_path / "out") == single


def test_the_command_may_be_killed_and_goes_on_here(
    cluster: Cluster, bag: Path, single: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with started(bag, "-o", out, "--chunk", CHUNK, "--bag", "--on", cluster.address) as command:
        wait_until(lambda: len(list(out.glob("labels/*.png"))) >= 5, "labels")
        command.send_signal(signal.SIGKILL)
    assert not (out / "summary.jsonl").exists()
    assert segment(bag, "-o", out, "--chunk", CHUNK, "--bag", "--quiet") == 0
    assert content(out) == single


POISON = f"""
import os, signal
from asymformer_ros.datasets.unlabelled import bag
from asymformer_ros.frames.messages import frame_from_messages, stamp_ns
def poisoned(rgb, depth):
    if stamp_ns(rgb.header) == {START + 9 * STEP}:
        os.kill(os.getpid(), signal.SIGKILL)
    return frame_from_messages(rgb, depth)
bag.frame_from_messages = poisoned
"""


def test_a_frame_that_kills_every_worker_costs_its_chunk_alone(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    (tmp_path / "poison.py").write_text(POISON)
    cluster = Cluster(tmp_path)
    out = tmp_path / "out"
    try:
        for _ in range(3):  # of which two die
            cluster.add_worker("--preload", str(tmp_path / "poison.py"))
        with started(bag, "-o", out, "--chunk", CHUNK, "--on", cluster.address) as command:
            _, said = command.communicate(timeout=PATIENCE)
    finally:
        cluster.close()
    assert command.returncode == 3, said
    assert "chunk 2 of" in said
    broken = [line for line in lines(out) if "error" in line]
    assert [line["name"] for line in broken] == ["chunk 2"]
    done = {(line["stamp"] - START) // STEP for line in lines(out) if "error" not in line}
    assert done >= {*range(24)} - {8, 9, 10, 11}
    assert 9 not in done


def test_a_worker_that_is_set_up_badly_ends_the_run_and_gives_nothing_up(
    bag: Path, single: dict[str, bytes], tmp_path: Path
) -> None:
    """It lacks ONNX Runtime; the recording is as whole as before for the next run."""
    (tmp_path / "lacks.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")
    cluster, out = Cluster(tmp_path), tmp_path / "out"
    options = (bag, "-o", out, "--chunk", CHUNK, "--bag")
    try:
        cluster.add_worker("--preload", str(tmp_path / "lacks.py"))
        with started(*options, "--backend", "onnxruntime", "--on", cluster.address) as command:
            _, said = command.communicate(timeout=PATIENCE)
    finally:
        cluster.close()
    assert command.returncode == 1, said
    assert "on a worker: " in said
    assert "onnxruntime" in said
    assert not (out / "summary.jsonl").exists()
    assert segment(*options, "--backend", "onnxruntime", "--quiet") == 0
    assert content(out) == single


def test_a_worker_reads_the_command_s_recording_or_none(tmp_path: Path) -> None:
    """Neither one that it had open under the same path, nor one that another machine has there."""
    spec = SourceSpec(str(write_bag(tmp_path / "drive", FRAMES[:2])))
    first = open_source(spec).fingerprint
    assert known_source(spec, first) is known_source(spec, first)
    shutil.rmtree(spec.path)
    write_bag(tmp_path / "drive", FRAMES[:3])
    second = open_source(spec).fingerprint
    assert known_source(spec, second).about == 3
    with pytest.raises(ConfigurationError, match="drive' is another recording on this worker"):
        known_source(spec, "0" * 64)


def test_a_bag_that_cannot_be_read_is_left_out_and_a_full_disk_ends_the_run_until_there_is_room(
    cluster: Cluster, bag: Path, single: dict[str, bytes], tmp_path: Path
) -> None:
    disk, poisoned = tmp_path / "disk", write_bag(tmp_path / "poisoned", FRAMES[:2])
    disk.mkdir()
    next(poisoned.glob("*.mcap")).write_bytes(b"\x89MCAP0\r\n" + bytes(100))
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only, and not in every container")
    options = (bag, poisoned, "-o", disk, "--chunk", CHUNK, "--on", cluster.address)
    try:
        with started(*options) as command:
            _, said = command.communicate(timeout=PATIENCE)
        assert command.returncode == 1
        assert "No space left on device" in said.splitlines()[-1]
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        with started(*options) as command:
            _, said = command.communicate(timeout=PATIENCE)
        assert command.returncode == 3, said
        assert "poisoned' is left out" in said
        without_bag = {name: data for name, data in single.items() if not name.startswith("bag/")}
        assert content(disk / "drive") == without_bag
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_input_and_output_may_be_in_s3(
    s3: Any, cluster: Cluster, bag: Path, single: dict[str, bytes], tmp_path: Path
) -> None:
    s3.put(str(bag), "fleet/drive", recursive=True)
    options = ("s3://fleet/drive", "-o", "s3://fleet/out", "--chunk", CHUNK, "--bag", "--on", cluster.address)
    with started(*options) as command:
        _, said = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, said
    s3.get("fleet/out", str(tmp_path / "out"), recursive=True)
    answered, expected = content(tmp_path / "out"), dict(single)
    manifest, known = (json.loads(files.pop("manifest.json")) for files in (answered, expected))
    assert manifest.pop("source")["path"] == "s3://fleet/drive"
    del known["source"]
    assert (manifest, answered) == (known, expected)


def test_a_scheduler_that_is_not_there_is_one_sentence(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asymformer_ros.evaluation.recordings.fleet._PATIENCE", 1.0)
    assert segment(bag, "-o", tmp_path / "out", "--on", "dask://127.0.0.1:9") == 1
    assert "no Dask scheduler answers at 'dask://127.0.0.1:9'" in capsys.readouterr().err


def test_the_manifest_tells_what_was_made_of_what(bag: Path, single: dict[str, bytes]) -> None:
    manifest = json.loads(single["manifest.json"])
    assert manifest["counts"] == {"frames": 24, "broken": 0, "without_depth": 0}
    assert manifest["identity"]["input"]["kind"] == "bag"
    assert len(manifest["identity"]["input"]["fingerprint"]) == len(manifest["identity"]["model"]["sha256"]) == 64
