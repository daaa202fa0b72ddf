"""The files that describe the package agree with each other and with what they describe."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import asymformer_ros

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture
def machine() -> ModuleType:
    spec = importlib.util.spec_from_file_location("supported_machine", ROOT / "scripts/supported_machine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_package_xml_is_valid_and_has_the_version_of_the_module() -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="needs catkin_pkg: make venv")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(ROOT), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.package_format == 3
    assert package.get_build_type() == "ament_cmake"
    assert package.version == asymformer_ros.__version__
    assert [str(name) for name in package.licenses] == ["Apache-2.0"]
    assert [group.name for group in package.member_of_groups] == ["rosidl_interface_packages"]


def test_package_xml_names_every_ros_package_that_the_code_imports() -> None:
    declared = set(re.findall(r"depend>([a-z0-9_-]+)<", (ROOT / "package.xml").read_text()))
    files = [*(ROOT / "asymformer_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    pattern = re.compile(r"^\s*(?:from|import) (\w+)", re.MULTILINE)
    imported = {name for path in files for name in pattern.findall(path.read_text())}
    ros = re.compile(r"\w+_msgs|.*_interfaces|rclpy|launch\w*|message_filters|cv_bridge|ament_index_python")
    assert {name for name in imported if ros.fullmatch(name)} <= declared


def test_cmake_names_every_message() -> None:
    listed = re.findall(r"msg/\w+\.msg", (ROOT / "CMakeLists.txt").read_text())
    assert sorted(listed) == sorted(f"msg/{path.name}" for path in (ROOT / "msg").glob("*.msg"))


def test_cmake_and_pip_install_the_same_executables(metadata: configparser.ConfigParser) -> None:
    listed = re.findall(r"scripts/\w+", (ROOT / "CMakeLists.txt").read_text())
    assert sorted(listed) == sorted(metadata["options.data_files"]["lib/asymformer_ros"].split())
    assert all(os.access(ROOT / path, os.X_OK) for path in listed)


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "asymformer_ros").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_a_plain_installation_asks_for_no_ros_wheels(metadata: configparser.ConfigParser) -> None:
    assert "ros-" not in metadata["options"]["install_requires"]
    assert "ros-rclpy" in metadata["options.extras_require"]["ros"].split()


def test_the_extra_build_is_what_pyproject_asks_for(metadata: configparser.ConfigParser) -> None:
    required = re.findall(r'^    "([\w-]+)', (ROOT / "pyproject.toml").read_text().split("]\n")[1], re.MULTILINE)
    extra = re.findall(r"^([\w-]+)", metadata["options.extras_require"]["build"], re.MULTILINE)
    assert sorted(extra) == sorted(required)


def test_the_workflow_on_ros_takes_no_ros_wheels(metadata: configparser.ConfigParser) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which every ROS installation has")
    text = (ROOT / ".github/workflows/ros.yml").read_text()
    assert yaml.safe_load(text)["jobs"]["test"]["container"] == "ros:jazzy"
    (extras,) = re.findall(r"requirements.py\" ([\w,]+)", text)
    assert not any("ros-" in metadata["options.extras_require"][extra] for extra in extras.split(","))


@pytest.mark.parametrize("path", ["Makefile", ".ci/run"])
def test_every_extra_that_is_installed_exists(path: str, metadata: configparser.ConfigParser) -> None:
    lists = re.findall(r"EXTRAS ?\??=\s*([\w,]+)", (ROOT / path).read_text())
    assert lists
    assert {extra for text in lists for extra in text.split(",")} <= set(metadata["options.extras_require"])


def test_continuous_integration_brings_at_least_what_make_test_brings() -> None:
    ours, theirs = (
        set(re.findall(r"^(?:export )?EXTRAS ?\??=\s*([\w,]+)", (ROOT / path).read_text(), re.MULTILINE)[0].split(","))
        for path in ("Makefile", ".ci/run")
    )
    assert theirs - ours == {"openvino", "rtx", "fuzz", "notebook"}
    assert ours <= theirs


def test_the_demo_is_installed_without_pytorch() -> None:
    (extras,) = re.findall(r"DEMO_EXTRAS \?= (.+)", (ROOT / "Makefile").read_text())
    command = [sys.executable, str(ROOT / "scripts/requirements.py")]
    lines = subprocess.run([*command, extras], capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"safetensors>=0.4", "onnxruntime>=1.17", "trimesh"} <= set(lines)
    assert not [line for line in lines if line.startswith(("torch", "#")) or not line]
    unknown = subprocess.run([*command, "onnx,caffe"], capture_output=True, text=True, check=False)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "setup.cfg has no extra caffe: expected some of ros, " in unknown.stderr


def test_the_oldest_versions_of_every_extra_are_requirements(metadata: configparser.ConfigParser) -> None:
    requirements = pytest.importorskip("packaging.requirements", reason="reads what pip reads")
    extras = ",".join(metadata["options.extras_require"])
    command = [sys.executable, str(ROOT / "scripts/requirements.py"), extras, "--oldest"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"numpy", "torch", "atheris"} <= {requirements.Requirement(line).name for line in lines}


def test_the_oldest_versions_are_those_that_setup_cfg_allows_and_the_docs_promise(
    metadata: configparser.ConfigParser,
) -> None:
    command = [sys.executable, str(ROOT / "scripts/requirements.py"), "onnx,torch,test", "--oldest"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"numpy==1.26.*", "opencv-python-headless==4.6.*", "onnxruntime==1.17.*"} <= set(lines)
    assert {"torch>=2.2", "pytest<9", "ruff"} <= set(lines)  # nothing is said of these, or the Makefile chooses
    table = (ROOT / "docs/installation.md").read_text().split("\n## Versions\n")[1].split("\n## ")[0]
    promised = re.findall(r"^\| \w.* \| `([\w-]+>=[\d.]+)` \|$", table, re.MULTILINE)
    extras = metadata["options.extras_require"]
    asked = "\n".join((metadata["options"]["install_requires"], extras["onnx"], extras["torch"])).split()
    assert sorted(promised) == sorted(asked)


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 13, 0), (2, 7, 18)])
def test_a_python_without_ros_wheels_is_refused_in_one_sentence(
    machine: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    problem = machine.missing_wheels()
    assert "Python 3.10, 3.11 or 3.12" in problem
    assert "\n" not in problem


def test_a_machine_without_compilers_is_told_what_to_install(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "scripts/supported_machine.py")]
    environment = {**os.environ, "PATH": str(tmp_path)}
    result = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "install gcc and g++" in result.stderr
