"""Both ways to install, for real: what `pip install .` and `colcon build` leave behind is there and works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.wheel_underlay import make_underlay, underlay_environment

ROOT = Path(__file__).resolve().parents[1]
WHEELS = Path(sys.prefix)
PACKAGE = "asymformer_ros"
EXECUTABLES = ("asymformer", "camera_node", "segmentation_node")
NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "install", "log", "*.egg-info", "__pycache__")

pytestmark = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (WHEELS / "share/ament_index/resource_index/packages/rclpy").is_file(),
        reason="needs the ROS wheels in this environment: make venv",
    ),
    pytest.mark.skipif(not (shutil.which("cc") and shutil.which("c++")), reason="needs a C and a C++ compiler"),
]


@dataclass(frozen=True)
class Installation:
    """An installed package: the prefix that it is in, and the shell commands that make it usable."""

    source: Path
    prefix: Path
    setup: str
    environment: dict[str, str]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the installation's environment, away from the source tree."""
        return subprocess.run(
            ["sh", "-c", f"{self.setup}\n{command}"],
            cwd=self.prefix,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def python(self, program: str) -> list[str]:
        """Run a Python program and return the lines that it prints."""
        result = self.run(f"python3 - <<'PROGRAM'\n{program}\nPROGRAM")
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.splitlines()


def install_with_pip(source: Path, folder: Path) -> Installation:
    """Install into a new environment that borrows all other packages from the one that runs the tests."""
    prefix = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", prefix], check=True)
    environment = underlay_environment(WHEELS, WHEELS)
    environment["LD_LIBRARY_PATH"] = f"{prefix / 'lib'}:{environment['LD_LIBRARY_PATH']}"
    environment["AMENT_PREFIX_PATH"] = f"{prefix}:{WHEELS}"
    environment["PATH"] = f"{prefix / 'bin'}:{environment['PATH']}"
    _run_builder([prefix / "bin/python", "-m", "pip", "install", "--no-deps", source], folder, environment)
    packages = prefix / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return Installation(source, prefix, "", environment)


def install_with_colcon(source: Path, folder: Path, *options: str) -> Installation:
    """Build a workspace on the wheels."""
    pytest.importorskip("colcon_core", reason="needs colcon: make venv")
    make_underlay(WHEELS, folder / "underlay")
    environment = underlay_environment(WHEELS, folder / "underlay")
    _run_builder(["colcon", "build", "--base-paths", source, *options], folder, environment)
    setup = f". {folder}/install/setup.sh"
    return Installation(source, folder / "install" / PACKAGE, setup, environment)


def _run_builder(command: list[str | Path], folder: Path, environment: dict[str, str]) -> None:
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree as a user has it after cloning, with something in place of weights that it lacks."""
    copy = Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / PACKAGE, ignore=NOT_SOURCE))
    for name in ("demo.safetensors", "demo.onnx"):
        (copy / PACKAGE / "models" / "weights" / name).touch()
    return copy


@pytest.fixture(scope="module", params=["pip", "colcon", "colcon --symlink-install"])
def installation(
    request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    builders: dict[str, Callable[[Path, Path], Installation]] = {
        "pip": install_with_pip,
        "colcon": install_with_colcon,
        "colcon --symlink-install": lambda source, folder: install_with_colcon(source, folder, "--symlink-install"),
    }
    return builders[request.param](source, tmp_path_factory.mktemp("installation"))


def test_a_summary_survives_serialisation_and_loads_only_this_installations_libraries(
    installation: Installation,
) -> None:
    lines = installation.python(
        """
from asymformer_ros.msg import ClassSummary, SegmentationSummary
from rclpy.serialization import deserialize_message, serialize_message
import asymformer_ros.msg

sent = SegmentationSummary(model="golden", unlabelled_fraction=0.25, age_ms=12.5)
sent.header.frame_id = "camera"
sent.classes = [ClassSummary(id=7, name="chair", nearest_distance=float("inf"), centroid_x=3.0)]
assert deserialize_message(serialize_message(sent), SegmentationSummary) == sent
print(asymformer_ros.msg.__file__)
print(*sorted({line.split()[-1] for line in open("/proc/self/maps") if "asymformer_ros" in line}), sep="\\n")
"""
    )
    assert lines[0].startswith(f"{installation.prefix}/")
    workspace = installation.prefix.parents[1] if installation.setup else installation.prefix
    assert len(lines) >= 6, lines  # C structures, two type supports, their dispatcher and the Python bindings
    assert all(line.startswith(f"{workspace}/") for line in lines), lines


def test_every_type_support_is_there(installation: Installation) -> None:
    for support in ("rosidl_typesupport_c", "rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c"):
        assert (installation.prefix / f"lib/lib{PACKAGE}__{support}.so").exists()
        installation.python(f"import rclpy, {PACKAGE}.{PACKAGE}_s__{support}")


def test_ros2_run_finds_the_executables(installation: Installation) -> None:
    for name in EXECUTABLES:
        path = installation.prefix / "lib" / PACKAGE / name
        assert path.is_file()
        assert os.access(path, os.X_OK), f"{path} has no run bit"


def test_the_command_line_starts(installation: Installation) -> None:
    result = installation.run(f"{installation.prefix}/lib/{PACKAGE}/asymformer --help")
    assert result.returncode == 0, result.stderr
    assert "usage: asymformer" in result.stdout


def test_the_camera_node_runs_and_ends(installation: Installation) -> None:
    result = installation.run(f"{installation.prefix}/lib/{PACKAGE}/camera_node --ros-args -p duration:=0.5")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_segmentation_node_starts_and_refuses_a_model_that_is_not_there(installation: Installation) -> None:
    node = f"{installation.prefix}/lib/{PACKAGE}/segmentation_node"
    result = installation.run(f"{node} --ros-args -p model:=/not/there.safetensors")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "/not/there.safetensors" in result.stdout + result.stderr


def test_the_ament_index_leads_to_the_share_folder(installation: Installation) -> None:
    (share,) = installation.python(
        "from ament_index_python.packages import get_package_share_directory\n"
        f"print(get_package_share_directory('{PACKAGE}'))"
    )
    assert Path(share) == installation.prefix / "share" / PACKAGE
    for folder in ("launch", "config", "rviz"):
        expected = {path.name for path in (installation.source / folder).iterdir()}
        assert expected
        assert expected <= {path.name for path in (Path(share) / folder).iterdir()}
    assert (Path(share) / "package.xml").read_text() == (installation.source / "package.xml").read_text()


def test_ros2_interface_finds_the_messages(installation: Installation) -> None:
    lines = installation.python(
        f"from ament_index_python import get_resource\nprint(get_resource('rosidl_interfaces', '{PACKAGE}')[0])"
    )
    messages = {f"msg/{path.name}" for path in (installation.source / "msg").glob("*.msg")}
    assert messages <= set(lines)
    assert all((installation.prefix / "share" / PACKAGE / line).is_file() for line in lines if line)


def test_every_module_of_the_source_and_the_weights_are_installed(installation: Installation) -> None:
    (file,) = installation.python(f"import {PACKAGE}; print({PACKAGE}.__file__)")
    kinds = (".py", ".safetensors", ".onnx")
    source, installed = (
        {path.relative_to(folder) for path in folder.rglob("*") if path.suffix in kinds}
        for folder in (installation.source / PACKAGE, Path(file).parent)
    )
    assert {path for path in installed if path.parts[0] != "msg"} == source


def test_colcon_takes_the_package_for_an_ament_package(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("colcon_core", reason="needs colcon: make venv")
    command = ["colcon", "list", "--base-paths", str(source)]
    environment = underlay_environment(WHEELS, WHEELS)
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [PACKAGE, str(source), "(ros.ament_cmake)"]
