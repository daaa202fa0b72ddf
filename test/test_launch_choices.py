"""What the launch file decides from its arguments; needs neither launch nor ROS."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import ROOT

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.node.launch_choices import Choices, check_names, dds_environment

PRESETS = yaml.safe_load((ROOT / "config" / "cameras.yaml").read_text())
NONE = dict.fromkeys(("rgb_topic", "depth_topic", "camera_info_topic", "cameras", "folder", "seed", "target_rate"), "")
DRIVERS = sorted(set(PRESETS) - {"sim", "folder"})


def choices(**given: str) -> Choices:
    return Choices({**NONE, "camera": "auto", "params_file": __file__, **given}, PRESETS)


def renamed(**given: str) -> dict[str, str]:
    return dict(choices(**given).remappings())


def test_without_arguments_the_simulated_camera_is_chosen_and_nothing_is_renamed() -> None:
    assert (choices().camera, choices().names, renamed()) == ("sim", [""], {})


@pytest.mark.parametrize("camera", DRIVERS)
def test_a_preset_remaps_every_transport_of_the_inputs(camera: str) -> None:
    preset = PRESETS[camera]
    assert renamed(camera=camera) == {
        "rgb/image": preset["rgb"],
        "rgb/image/compressed": preset["rgb"] + "/compressed",
        "depth/image": preset["depth"],
        "depth/image/compressedDepth": preset["depth"] + "/compressedDepth",
        "depth/image/compressed": preset["depth"] + "/compressed",
        "rgb/camera_info": preset["camera_info"],
    }
    assert preset["enable"] in choices(camera=camera).announcement


def test_topics_alone_choose_no_camera_and_camera_info_lies_beside_the_colour_image() -> None:
    given = {"rgb_topic": "/cam/color/image", "depth_topic": "/cam/depth/image"}
    assert choices(**given).camera == "none"
    assert renamed(**given)["rgb/image"] == "/cam/color/image"
    assert renamed(**given)["depth/image"] == "/cam/depth/image"
    assert renamed(**given)["rgb/camera_info"] == "/cam/color/camera_info"
    assert renamed(rgb_topic="image", depth_topic="depth")["rgb/camera_info"] == "camera_info"


def test_a_topic_given_overrides_the_preset_s() -> None:
    topics = renamed(camera="realsense", depth_topic="/other/depth", camera_info_topic="/other/info")
    assert topics["rgb/image"] == PRESETS["realsense"]["rgb"]
    assert (topics["depth/image"], topics["rgb/camera_info"]) == ("/other/depth", "/other/info")


def test_several_cameras_have_topics_of_their_own() -> None:
    topics = renamed(cameras="[front, rear]", rgb_topic="/{camera}/color/image", depth_topic="/{camera}/depth")
    assert topics["front/rgb/image"] == "/front/color/image"
    assert topics["rear/depth/image"] == "/rear/depth"
    assert topics["rear/rgb/camera_info"] == "/rear/color/camera_info"


def test_rviz_shows_the_first_camera_s_topics() -> None:
    topics = dict(choices(cameras="[front, rear]", camera="sim").rviz_remappings("/robot/"))
    assert topics["/rgb/image"] == "/robot/front/rgb/image"
    assert topics["/segmentation/points"] == "/robot/front/segmentation/points"
    assert choices().rviz_remappings("") == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cameras": "front", "camera": "sim"}, "no list of names"),
        ({"cameras": "[front", "camera": "sim"}, "no list of names"),
        ({"cameras": "[front, 2nd]", "camera": "sim"}, "a name that no topic can have"),
        ({"cameras": "[front door]", "camera": "sim"}, "a name that no topic can have"),
        ({"cameras": "[front, rear]", "camera": "realsense"}, "2 cameras cannot share .*{camera}"),
        (
            {"cameras": "[front, rear]", "camera": "realsense", "rgb_topic": "/{camera}/rgb"},
            "cannot share /camera/camera/aligned_depth_to_color/image_raw: write",
        ),
        (
            {"cameras": "[a, b]", "rgb_topic": "/{camera}/rgb", "depth_topic": "depth"},
            "cannot share depth: write",
        ),
        ({"camera": "folder"}, "needs folder:=PATH"),
        ({"camera": "folder", "folder": "/no/such"}, "folder:=/no/such is not a folder"),
        ({"camera": "folder", "folder": "~nobody_has_this/a"}, "folder:=~nobody_has_this/a is not a folder"),
        ({"camera": "realsense", "folder": "/tmp"}, "is for camera:=folder"),
        ({"camera": "sim", "rgb_topic": "/a"}, "publishes its own topics"),
        ({"target_rate": "0"}, "target_rate:=0 is no number above 0"),
        ({"target_rate": "nan"}, "target_rate:=nan is no number above 0"),
        ({"target_rate": "fast"}, "target_rate:=fast is no number above 0"),
        ({"seed": "-1"}, "seed:=-1 is no whole number"),
        ({"camera": "realsense", "seed": "1"}, "seed:= is for camera:=sim"),
        ({"params_file": "/no/such.yaml"}, "params_file:=/no/such.yaml is not a file"),
        ({"rgb_topic": "/cam/rgb/compressed"}, "write rgb_topic:=/cam/rgb image_transport:=compressed"),
        ({"depth_topic": "/d/compressedDepth"}, "write depth_topic:=/d depth_image_transport:=compressedDepth"),
    ],
)
def test_a_mistake_is_one_sentence(given: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        choices(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("modle", "did you mean model:="), ("use_simtime", "did you mean use_sim_time:="), ("x", "see --show-args")],
)
def test_an_argument_that_nobody_declares_is_refused(given: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{given}:= is no argument of segment.launch.py: {hint}"):
        check_names(["model", given], ["model", "use_sim_time"], all_are_ours=True)


def test_among_the_arguments_of_a_whole_robot_only_near_names_are_said() -> None:
    (said,) = check_names(["camera_name", "modle", "map", "model"], ["camera", "model"], all_are_ours=False)
    assert said == "modle:= is no argument of segment.launch.py: did you mean model:=?"


def test_a_fast_dds_profile_is_the_package_s_none_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"):
        monkeypatch.delenv(name, raising=False)
    assert dds_environment("none") == {}
    assert all(value.endswith("fastdds_shm.xml") for value in dds_environment("package").values())
    (tmp_path / "mine.xml").touch()
    assert set(dds_environment(str(tmp_path / "mine.xml")).values()) == {str(tmp_path / "mine.xml")}
    with pytest.raises(ConfigurationError, match="neither package, none nor a file"):
        dds_environment("/no/such.xml")
