"""The launch file, its presets and what goes with them; real `ros2 launch` descriptions where launch_ros is there."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from asymformer_ros.errors import ConfigurationError

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

LAUNCH_FILE = ROOT / "launch" / "segment.launch.py"
HAS_LAUNCH = all(importlib.util.find_spec(name) for name in ("launch", "launch_ros"))
needs_launch = pytest.mark.skipif(not HAS_LAUNCH, reason="needs launch_ros, which the package index does not carry")
CAMERAS = yaml.safe_load((ROOT / "config" / "cameras.yaml").read_text())
DRIVERS = sorted(set(CAMERAS) - {"sim", "folder"})


def test_every_preset_names_its_topics_and_what_to_enable() -> None:
    assert {"sim", "folder", "realsense", "orbbec", "zed", "oak", "azure_kinect"} == set(CAMERAS)
    for preset in CAMERAS.values():
        assert set(preset) == {"rgb", "depth", "camera_info", "enable"}
        assert all(isinstance(value, str) and value for value in preset.values())


@pytest.mark.parametrize("camera", DRIVERS)
def test_a_driver_s_topics_are_absolute_and_distinct(camera: str) -> None:
    topics = [CAMERAS[camera][name] for name in ("rgb", "depth", "camera_info")]
    assert all(topic.startswith("/") and not topic.endswith("/") for topic in topics)
    assert len(set(topics)) == 3


def test_the_package_s_own_cameras_use_the_node_s_own_relative_names() -> None:
    for camera in ("sim", "folder"):
        names = [CAMERAS[camera][name] for name in ("rgb", "depth", "camera_info")]
        assert names == ["rgb/image", "depth/image", "rgb/camera_info"]


def test_the_default_parameters_are_those_of_a_node() -> None:
    content = yaml.safe_load((ROOT / "config" / "segment.yaml").read_text())
    ((name, section),) = content.items()
    assert name in ("/**", "segmentation_node", "/**/segmentation_node")
    assert "model" in section["ros__parameters"]


def test_the_fast_dds_profile_has_shared_memory_for_images_and_udp() -> None:
    root = ElementTree.parse(ROOT / "config" / "fastdds_shm.xml").getroot()
    space = {"f": root.tag[1:].partition("}")[0]}
    transports = {
        transport.findtext("f:type", namespaces=space): transport
        for transport in root.iterfind(".//f:transport_descriptor", space)
    }
    assert set(transports) == {"SHM", "UDPv4"}
    assert int(transports["SHM"].findtext("f:segment_size", namespaces=space) or 0) == 16 * 2**20
    announcements = next(root.iterfind(".//f:initialAnnouncements", space))
    assert [node.text for node in announcements.iter() if (node.text or "").strip()] == ["60", "50000000"]
    used = {node.text for node in root.iterfind(".//f:userTransports/f:transport_id", space)}
    assert used == {transport.findtext("f:transport_id", namespaces=space) for transport in transports.values()}


def test_the_rviz_view_shows_camera_overlay_labels_and_points_best_effort() -> None:
    manager = yaml.safe_load((ROOT / "rviz" / "segment.rviz").read_text())["Visualization Manager"]
    shown = {display["Topic"]["Value"]: display["Class"].split("/")[1] for display in manager["Displays"]}
    images = dict.fromkeys((f"/segmentation/{name}" for name in ("overlay", "color", "legend")), "Image")
    assert shown == {"/rgb/image": "Image", **images, "/segmentation/points": "PointCloud2"}
    qos = {topic["Value"]: topic["Reliability Policy"] for topic in (one["Topic"] for one in manager["Displays"])}
    assert qos == {topic: "Reliable" if topic.endswith("legend") else "Best Effort" for topic in shown}


def visit(**given: str) -> list[Any]:
    """What the launch file does for these arguments."""
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    context = LaunchContext()
    context.launch_configurations.update(given)
    entities = PythonLaunchDescriptionSource(str(LAUNCH_FILE)).get_launch_description(context).entities
    kept: list[Any] = []
    pending = list(entities)
    while pending:
        entity = pending.pop(0)
        if type(entity).__name__ in ("Node", "LogInfo"):
            kept.append(entity)
        else:
            pending = [*(entity.visit(context) or []), *pending]
    leaked = set(context.launch_configurations) - set(given)
    assert not leaked, f"left in the launch configurations: {leaked}"
    return kept


@dataclass(frozen=True)
class Launched:
    """One node as its process would get it."""

    namespace: str
    remaps: dict[str, str]
    parameters: dict[str, Any]


def nodes(**given: str) -> dict[str, Launched]:
    """Executable -> node, for all nodes that these arguments launch."""
    from launch import LaunchContext

    described = {}
    for node in of_kind("Node", visit(**given)):
        node._perform_substitutions(LaunchContext())
        merged: dict[str, Any] = {}
        for file, is_file in node._Node__expanded_parameter_arguments:
            assert is_file
            for section in yaml.unsafe_load(Path(file).read_text()).values():  # launch writes lists as Python tuples
                merged.update(section["ros__parameters"])
        remaps = dict(node.expanded_remapping_rules or [])
        described[node.node_executable] = Launched(node.expanded_node_namespace, remaps, merged)
    return described


def of_kind(kind: str, entities: list[Any]) -> list[Any]:
    return [entity for entity in entities if type(entity).__name__ == kind]


@needs_launch
def test_without_arguments_the_simulated_camera_is_segmented() -> None:
    launched = nodes()
    assert set(launched) == {"camera_node", "segmentation_node"}
    assert launched["segmentation_node"].remaps == {}
    assert launched["camera_node"].parameters["source"] == "sim"


@needs_launch
def test_only_what_is_given_overrides_the_parameter_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"/**": {"ros__parameters": {"model": "a.safetensors", "backend": "torch", "slop": 0.5}}})
    )
    kept = nodes(camera="none", params_file=str(file))["segmentation_node"].parameters
    assert kept == {"model": "a.safetensors", "backend": "torch", "slop": 0.5}
    given = {"model": "007", "use_sim_time": "true", "image_transport": "compressed"}
    changed = nodes(camera="none", params_file=str(file), **given)["segmentation_node"].parameters
    assert changed == {
        "model": "007",
        "backend": "torch",
        "slop": 0.5,
        "use_sim_time": True,
        "image_transport": "compressed",
    }


@needs_launch
@pytest.mark.parametrize(("size", "expected"), [({}, "auto"), ({"input_size": "224x288"}, "224x288")])
def test_a_target_rate_has_the_input_size_chosen_unless_one_is_given(size: dict[str, str], expected: str) -> None:
    parameters = nodes(target_rate="15", **size)["segmentation_node"].parameters
    assert (parameters["target_rate"], parameters["input_size"]) == (15.0, expected)


@needs_launch
def test_the_simulated_camera_gets_the_demo_s_weights_unless_something_else_is_chosen(tmp_path: Path) -> None:
    assert nodes()["segmentation_node"].parameters["model"] == "demo"
    assert nodes(model="untrained")["segmentation_node"].parameters["model"] == "untrained"
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"model": "a.onnx"}}}))
    assert nodes(params_file=str(file))["segmentation_node"].parameters["model"] == "a.onnx"
    for given in ({"camera": "realsense"}, {"camera": "folder", "folder": str(tmp_path)}):
        assert nodes(**given)["segmentation_node"].parameters["model"] == ""


@needs_launch
def test_a_seed_reaches_the_camera_node() -> None:
    assert "seed" not in nodes()["camera_node"].parameters
    assert nodes(seed="7")["camera_node"].parameters["seed"] == 7


@needs_launch
def test_a_namespace_reaches_both_nodes() -> None:
    for launched in nodes(namespace="robot").values():
        assert launched.namespace == "/robot"


@needs_launch
def test_several_cameras_have_topics_of_their_own_and_one_node() -> None:
    launched = nodes(cameras="[front, rear]", rgb_topic="/{camera}/color/image", depth_topic="/{camera}/depth")
    assert set(launched) == {"segmentation_node"}
    assert launched["segmentation_node"].parameters["cameras"] == ("front", "rear")
    renamed = launched["segmentation_node"].remaps
    assert renamed["front/rgb/image"] == "/front/color/image"
    assert renamed["rear/depth/image"] == "/rear/depth"
    assert renamed["rear/rgb/camera_info"] == "/rear/color/camera_info"
    simulated = of_kind("Node", visit(camera="sim", cameras="[front, rear]"))
    assert [node.node_executable for node in simulated] == ["segmentation_node", "camera_node", "camera_node"]


TOP = ["ros2", "launch", "asymformer_ros", "segment.launch.py"]
LIMIT = 200.0  # seconds, against hangs
PACKAGE_FILE = ("asymformer_ros", "segment.launch.py")
INCLUDED = ["ros2", "launch", "my_robot", "robot.launch.py"]


@needs_launch
@pytest.mark.parametrize(
    ("argv", "given", "ends_all"),
    [
        (TOP, {}, True),
        (TOP, {"use_respawn": "true"}, False),
        (TOP, {"shutdown_on_exit": "false"}, False),
        (INCLUDED, {}, False),
        (INCLUDED, {"shutdown_on_exit": "true"}, True),
    ],
)
def test_a_node_that_ends_ends_the_launch_only_where_this_file_is_the_top_one(
    argv: list[str], given: dict[str, str], ends_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    for node in of_kind("Node", visit(**given)):
        assert bool(node._ExecuteLocal__on_exit) == ends_all
        assert node._ExecuteLocal__respawn == (given.get("use_respawn") == "true")


@needs_launch
def test_a_misspelt_argument_is_refused_where_this_file_is_the_top_one_and_said_where_it_is_included(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", TOP)
    with pytest.raises(ConfigurationError, match="modle:= is no argument of segment.launch.py: did you mean model:="):
        visit(modle="nyuv2")
    monkeypatch.setattr(sys, "argv", INCLUDED)
    said = [str(entity.msg[0].text) for entity in of_kind("LogInfo", visit(modle="nyuv2", camera_name="d435"))]
    assert said[0] == "modle:= is no argument of segment.launch.py: did you mean model:=?"
    assert not any("camera_name" in text for text in said)


@needs_launch
def test_autostart_and_log_level_reach_the_nodes() -> None:
    assert nodes(autostart="false")["segmentation_node"].parameters["autostart"] is False
    for node in of_kind("Node", visit(log_level="debug")):
        assert node._Node__ros_arguments == ["--log-level", "debug"]


@needs_launch
def test_a_recording_reaches_the_camera_node(tmp_path: Path) -> None:
    launched = nodes(camera="folder", folder=str(tmp_path))
    given = launched["camera_node"].parameters
    assert (given["source"], given["folder"]) == ("folder", str(tmp_path))


@needs_launch
def test_the_fast_dds_profile_is_set_unless_refused_or_already_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")
    for name in names:
        monkeypatch.delenv(name, raising=False)

    def environments(**given: str) -> list[dict[str, str]]:
        """What the launch file adds to the environment of each node."""
        added = [node.process_description.additional_env or () for node in of_kind("Node", visit(**given))]
        return [{name[0].text: value[0].text for name, value in one} for one in added]

    for one in environments():
        assert list(one) == ["FASTDDS_DEFAULT_PROFILES_FILE"]
        assert one["FASTDDS_DEFAULT_PROFILES_FILE"].endswith("fastdds_shm.xml")
    assert environments(fastdds_profile="none") == [{}, {}]
    monkeypatch.setenv(names[0], "/mine.xml")
    assert environments() == [{}, {}]


@needs_launch
def test_rviz_that_is_not_installed_is_said_and_the_rest_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    import ament_index_python.packages as packages

    def absent(name: str) -> str:
        raise packages.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "get_package_prefix", absent)
    entities = visit(rviz="true")
    said = [str(entity.msg[0].text) for entity in of_kind("LogInfo", entities)]
    assert any("rviz2 is not installed" in text for text in said)
    assert len(of_kind("Node", entities)) == 2


@needs_launch
def test_rviz_follows_the_camera_and_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    import ament_index_python.packages as packages

    monkeypatch.setattr(packages, "get_package_prefix", lambda name: "/somewhere")
    renamed = nodes(rviz="true", camera="realsense", namespace="/robot/")["rviz2"].remaps
    assert renamed["/rgb/image"] == CAMERAS["realsense"]["rgb"]
    for name in ("overlay", "color", "legend", "points"):
        assert renamed[f"/segmentation/{name}"] == f"/robot/segmentation/{name}"


def _ros2_launch(
    *arguments: str,
    until: tuple[str, ...] = (),
    file: tuple[str, ...] = PACKAGE_FILE,
    on_line: Callable[[str], None] = lambda line: None,
) -> str:
    """Run `ros2 launch` and return its output; SIGINT once it has said each of `until`, which may be there twice."""
    command = [str(Path(sys.executable).with_name("ros2")), "launch", *file, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    too_long = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
    too_long.start()
    output, waiting = "", bool(until)
    for line in process.stdout:
        output += line
        on_line(line)
        if waiting and all(output.count(text) >= until.count(text) for text in until):
            waiting = False
            process.send_signal(signal.SIGINT)
    code = process.wait(60)
    too_long.cancel()
    assert code == 0, output
    return output


@pytest.fixture
def installed() -> None:
    if not Path(sys.executable).with_name("ros2").exists():
        pytest.skip("needs ros2cli beside this Python")
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    if not any((Path(prefix) / "share/asymformer_ros/launch").is_dir() for prefix in prefixes if prefix):
        pytest.skip("needs the package installed, not only its source tree")


@needs_launch
def test_show_args_lists_every_argument_with_a_description(installed: None) -> None:
    output = _ros2_launch("--show-args")
    for name in ("camera", "rgb_topic", "depth_topic", "model", "seed", "rviz", "fastdds_profile", "params_file"):
        assert f"'{name}':" in output
    assert "no description given" not in output


@needs_launch
@pytest.mark.slow
@pytest.mark.parametrize("given", [["model:=untrained"], []])
def test_ros2_launch_starts_both_nodes_and_ends_them_cleanly(installed: None, given: list[str]) -> None:
    model = "untrained" if given else "demo"
    said = ("publishing simulated rooms", f"model '{model}'", "segmenting /rgb/image and /depth/image")
    output = _ros2_launch(*given, until=said)
    assert output.count("process has finished cleanly") == 2, output


ROBOT = """
import sys
from launch import LaunchDescription
from launch.actions import ExecuteProcess, GroupAction, IncludeLaunchDescription, LogInfo
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

REST = "import os, time; print('rest starts', [n for n in os.environ if n.startswith('FAST')], flush=True);"
LATER = "time.sleep(1000)"

def generate_launch_description():
    given = {"camera": "none", "model": "demo", "use_respawn": "true"}
    segment = IncludeLaunchDescription(PythonLaunchDescriptionSource(FILE), launch_arguments=given.items())
    seen = [LaunchConfiguration(name, default="unset") for name in ("model", "camera", "namespace", "use_respawn")]
    return LaunchDescription([
        GroupAction([segment]),
        LogInfo(msg=["after it: ", *seen]),
        ExecuteProcess(cmd=[sys.executable, "-c", REST + LATER], output="screen"),
    ])
"""


@needs_launch
@pytest.mark.slow
def test_in_a_robot_s_bring_up_a_node_that_dies_is_started_again_and_nothing_else_is_touched(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("FAST")]:
        monkeypatch.delenv(name)
    (tmp_path / "robot.launch.py").write_text(ROBOT.replace("FILE", repr(str(LAUNCH_FILE))))
    node: list[int] = []

    def kill_it_once(line: str) -> None:
        if started := re.search(r"segmentation_node-\d+\]: process started with pid \[(\d+)\]", line):
            node.append(int(started[1]))
        if "segmenting /rgb/image" in line and len(node) == 1:
            os.kill(node[0], signal.SIGKILL)

    said = ("rest starts", "segmenting /rgb/image", "segmenting /rgb/image")
    output = _ros2_launch(until=said, file=(str(tmp_path / "robot.launch.py"),), on_line=kill_it_once)
    assert "after it: unsetunsetunsetunset" in output, "an argument of the included file leaked"
    assert "rest starts []" in output, "its Fast DDS profile leaked"
    assert output.count("rest starts []") == 1
    assert f"process has died [pid {node[0]}, exit code -9" in output
    assert f"process has finished cleanly [pid {node[1]}]" in output
