"""`asymformer doctor`: what it finds on this computer, and on computers that are made to look broken."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_engine_cache import IDENTITY, manifest

from asymformer_ros import __version__
from asymformer_ros.cli import doctor_libraries as libraries
from asymformer_ros.cli import doctor_machine as machine
from asymformer_ros.cli.doctor_libraries import Library
from asymformer_ros.cli.main import main
from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.driver import GpuInfo, NoGpu
from asymformer_ros.findings import Finding
from asymformer_ros.models.catalogue import DEMO, NYUV2
from asymformer_ros.optional import installed

ROOT = Path(__file__).resolve().parents[1]
ORIN = GpuInfo("Orin", (8, 7), (12, 6), integrated=True, multiprocessors=16, memory=64 << 30)
NONE = NoGpu("no NVIDIA driver")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries are not imported: they are all there."""
    monkeypatch.setattr(Library, "find", lambda library: [Finding("ok", library.name, "1.0")])


def module(folder: Path, name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that runs `code` when it is imported."""
    (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))


def test_the_doctor_answers_on_this_computer(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "asymformer_ros.cli.main", "doctor", "--cache", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, timeout=300)
    lines = done.stdout.splitlines()
    found = {line.split()[1]: line.split()[0] for line in lines if not line.startswith(" ")}
    assert done.stderr == ""
    assert done.returncode == int("error" in found.values())
    for cause in ("python", "gpu", "cpu", "shared_memory", "backends", "rclpy", "engine_cache", "weights"):
        assert cause in found
    assert found["numpy"] == found["cv2"] == found["backends"] == "ok"
    assert {found[name] for name in ("torch", "onnxruntime") if installed(name)} == {"ok"}
    if installed("rclpy"):
        assert found["rclpy"] == found["sensor_msgs"] == found["asymformer_ros.msg"] == "ok"
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        assert line.startswith(("ok ", " ")) or after.lstrip().startswith("-> "), "nothing is said about what to do"


def test_scripts_get_json_and_an_exit_code(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--json", "--cache", str(tmp_path)]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["version"] == __version__
    assert data["worst"] in ("ok", "warning")
    assert {"severity": "ok", "cause": "numpy", "text": "1.0", "advice": ""} in data["findings"]
    monkeypatch.setenv("ROS_DOMAIN_ID", "house")
    assert main(["doctor", "--json", "--cache", str(tmp_path)]) == int(installed("rclpy"))
    assert (json.loads(capsys.readouterr().out)["worst"] == "error") == installed("rclpy")


def test_a_check_that_fails_is_a_finding(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Finding:
        raise PermissionError("not for you")

    monkeypatch.setattr(machine, "check_cpu", broken)
    assert main(["doctor", "--cache", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "warning  cpu                could not be looked at (PermissionError: not for you)" in out
    assert " weights " in out


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashes when it is imported (SIGSEGV)"),
        ("raise OSError('libfoo.so.1: cannot open shared object file')", "OSError: libfoo.so.1: cannot open"),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        (
            "import sys; print('A module that was compiled using NumPy 1.x cannot be run in', file=sys.stderr)",
            "is built for NumPy 1, and NumPy 2 is installed",
        ),
        ("import os; os._exit(3)", "fails to load without a reason"),
    ],
)
def test_a_library_that_is_broken_is_told_apart_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    module(tmp_path, "broken_library", code, monkeypatch)
    (finding,) = Library("broken_library", "import broken_library; print(1)").find()
    assert finding.severity == "error"
    assert finding.text.startswith(said)
    assert finding.advice.startswith("install it again")
    (finding,) = Library("missing_library", "import missing_library", "makes coffee").find()
    assert (finding.severity, finding.text) == ("warning", "not installed; makes coffee")


@pytest.mark.parametrize(("version", "severity"), [("1.9.3", "warning"), ("1.26.0", "ok"), ("2.0rc1", "ok")])
def test_a_library_that_is_too_old_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, severity: str
) -> None:
    module(tmp_path, "some_library", f"__version__ = '{version}'", monkeypatch)
    code = "import some_library; print(some_library.__version__)"
    (finding,) = Library("some_library", code, least="1.26").find()
    assert finding.severity == severity
    assert (f"{version} is older than 1.26" in finding.text) == (severity == "warning")


def test_the_oldest_versions_are_those_that_are_promised() -> None:
    promised = (ROOT / "setup.cfg").read_text()
    for library in libraries.general(has_gpu=False):
        package = {"cv2": "opencv-python-headless"}.get(library.name, library.name)
        if library.least and package != "tensorrt":
            assert f"    {package}>={library.least}\n" in promised


def test_what_lies_in_the_users_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('this is my numpy')")
    monkeypatch.chdir(tmp_path)
    assert libraries.ask("import numpy; print(numpy.__version__)")[1]


def test_libraries_that_are_installed_over_each_other_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["opencv-python", "opencv-python-headless", "onnxruntime", "numpy"]
    there = [SimpleNamespace(metadata={"Name": name}) for name in names]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: there)
    (finding,) = libraries.check_twins()
    assert finding.text == "opencv-python and opencv-python-headless overwrite each other"


def test_nothing_that_can_run_a_model_is_an_error() -> None:
    missing = [Finding("warning", name, "not installed") for name in ("torch", "onnxruntime")]
    assert machine.check_backends(missing).severity == "error"
    assert machine.check_backends([*missing, Finding("ok", "torch", "2.7")]).text == "torch"


def test_a_pytorch_without_cuda_beside_a_gpu_is_told() -> None:
    (finding,) = machine.check_torch_cuda(Finding("ok", "torch", "2.7.0+cpu CPU only"), ORIN)
    assert "PyTorch 2.7.0+cpu CPU only, though there is Orin" in finding.text
    assert machine.check_torch_cuda(Finding("ok", "torch", "2.7.0+cpu CPU only"), NONE) == []


def test_a_driver_without_its_cuda_library_is_told(tmp_path: Path) -> None:
    driver = tmp_path / "version"
    assert machine.check_gpu(NONE, driver).severity == "ok"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16")
    finding = machine.check_gpu(NONE, driver)
    assert (finding.severity, finding.text) == ("warning", "driver 560.35.03 is loaded, but no NVIDIA driver")
    assert "64 GiB shared with the CPU, driver 560.35.03" in machine.check_gpu(ORIN, driver).text


def test_a_quota_of_one_core_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_quota", lambda: 0.5)
    monkeypatch.setattr(machine, "usable_cpus", lambda: 1)
    finding = machine.check_cpu()
    assert finding.severity == "warning"
    assert "0.5 cores' time by quota" in finding.text


def test_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 200_000_000)
    assert (machine.check_memory().severity, machine.check_memory().text) == ("warning", "200 MB free")


def test_small_shared_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_shared_memory(tmp_path / "none").severity == "warning"
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(total=67e6, free=60e6))
    finding = machine.check_shared_memory(tmp_path)
    assert (finding.severity, "60 of 67 MB free" in finding.text) == ("warning", True)
    assert "--shm-size" in finding.advice


@pytest.mark.parametrize(
    ("environment", "wheels", "severity"),
    [
        ({"ROS_DISTRO": "jazzy"}, False, "ok"),
        ({"ROS_DISTRO": "jazzy"}, True, "warning"),
        ({"ROS_DISTRO": "foxy"}, False, "warning"),
        ({}, True, "ok"),
        ({}, False, "warning"),
    ],
)
def test_the_ros_distribution_is_told(environment: dict[str, str], wheels: bool, severity: str) -> None:
    finding = machine.check_distribution({**environment, "RMW_IMPLEMENTATION": "rmw_zenoh_cpp"}, wheels)
    assert finding.severity == severity
    assert bool(finding.advice) == (severity == "warning")


@pytest.mark.parametrize(("domain", "severity"), [("", "ok"), ("7", "ok"), ("-1", "error"), ("233", "error")])
def test_a_domain_that_is_none_is_an_error(domain: str, severity: str) -> None:
    assert machine.check_domain({"ROS_DOMAIN_ID": domain}).severity == severity


def test_limits_of_discovery_are_told() -> None:
    assert machine.check_domain({"ROS_LOCALHOST_ONLY": "1"}).text == "0, ROS_LOCALHOST_ONLY=1"


@pytest.mark.ros
@pytest.mark.parametrize(
    ("environment", "severity", "told"),
    [
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, "ok", "=LARGE_DATA"),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/none/p.xml"}, "error", "names /none/p.xml, which is not there"),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "ok", "not for rmw_cyclonedds_cpp"),
        ({}, "warning", "not set in this shell"),
    ],
)
def test_the_fast_dds_profile_is_told(environment: dict[str, str], severity: str, told: str) -> None:
    finding = machine.check_profile(environment)
    assert finding.severity == severity
    assert told in finding.text


def test_a_cache_is_looked_at_and_not_made(tmp_path: Path) -> None:
    finding = machine.check_cache(EngineCache(tmp_path / "a" / "b"))
    assert (finding.severity, "made when it is needed" in finding.text) == ("ok", True)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_or_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    finding = machine.check_cache(EngineCache(tmp_path / "file" / "engines"))
    assert (finding.severity, "cannot be written" in finding.text) == ("warning", True)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=5e6))
    finding = machine.check_cache(EngineCache(tmp_path))
    assert (finding.severity, "5 MB free" in finding.text) == ("warning", True)


@pytest.fixture
def orin_cache(tmp_path: Path) -> EngineCache:
    """A cache with an engine that this package has built for an Orin."""
    cache = EngineCache(tmp_path)
    with cache.locked(IDENTITY, BuildContext()) as slot:
        (slot / "plan").write_bytes(b"plan")
        cache.store(slot, slot / "plan", manifest(replace(IDENTITY, package_version=__version__), slot / "plan"))
    return cache


def test_an_engine_of_this_computer_is_valid(orin_cache: EngineCache) -> None:
    (finding,) = machine.check_engines(orin_cache, ORIN, {"tensorrt": "10.3.0"})
    assert finding.severity == "ok"
    assert "(mixed, tensorrt 10.3.0, 0 MB) is valid" in finding.text


@pytest.mark.parametrize(
    ("gpu", "builders", "why"),
    [
        (ORIN, {"tensorrt": "10.7.0"}, "built by version 10.3.0, now it is 10.7.0"),
        (ORIN, {}, "built by version 10.3.0, now it is none"),
        (replace(ORIN, name="T4"), {"tensorrt": "10.3.0"}, "built on GPU Orin, now it is T4"),
        (NONE, {"tensorrt": "10.3.0"}, "built on GPU Orin, now it is none"),
    ],
)
def test_an_engine_that_cannot_be_used_says_why(
    orin_cache: EngineCache, gpu: GpuInfo | NoGpu, builders: dict[str, str], why: str
) -> None:
    (finding,) = machine.check_engines(orin_cache, gpu, builders)
    assert finding.severity == "warning"
    assert why in finding.text


def test_a_damaged_engine_says_so(orin_cache: EngineCache) -> None:
    next(orin_cache.folder.glob("*/manifest.json")).write_text("{")
    (finding,) = machine.check_engines(orin_cache, ORIN, {"tensorrt": "10.3.0"})
    assert "its manifest cannot be read" in finding.text


def test_weights_that_are_missing_or_cut_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    rooms, demo, nyuv2 = machine.check_weights()
    assert (rooms.severity, demo.severity, nyuv2.severity) == ("ok", "ok", "warning")
    assert "weights download nyuv2" in nyuv2.advice
    bundle = NYUV2.bundle
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(DEMO.bundle.read_bytes()[:-1000])
    *_, cut = machine.check_weights()
    assert (cut.severity, f"{bundle} is damaged" in cut.text) == ("error", True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_doctor_ends_what_it_has_asked(tmp_path: Path, number: signal.Signals, code: int) -> None:
    told = tmp_path / "pid"
    slow = f"import os, time; print(os.getpid(), file=open({str(told)!r}, 'w'), flush=True); time.sleep(300)"
    program = (
        "import sys, asymformer_ros.cli.doctor_libraries as libraries, asymformer_ros.cli.main as cli\n"
        f"libraries.general = lambda has_gpu: [libraries.Library('sys', {slow!r})]\n"
        "sys.exit(cli.main(['doctor']))"
    )
    doctor = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (told.exists() and told.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    doctor.send_signal(number)
    assert doctor.wait(60) == code
    assert not Path(f"/proc/{int(told.read_text())}").exists()
