"""What launch/segment.launch.py decides from its arguments: camera, topics, names, remappings. Nothing here knows ROS.

What makes no sense raises ConfigurationError, which `ros2 launch` prints as one sentence.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.node import OWN_CAMERAS
from asymformer_ros.node.fastdds import large_message_environment
from asymformer_ros.optional import importing

with importing("yaml", "the launch file"):
    import yaml

_CAMERA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
_TRANSPORTS = ("compressed", "compressedDepth", "theora", "ffmpeg", "zstd")
_NEAR = 0.8  # of difflib: modle is near model, camera_name is not near camera


def check_names(given: Iterable[str], known: Iterable[str], *, all_are_ours: bool) -> list[str]:
    """One sentence for each name that is near a known one and is none; `ros2 launch` takes any name without a word.

    all_are_ours: whether all that is given is meant for this launch file: then an unknown name raises.
    """
    known = list(known)
    said = []
    for name in (name for name in given if name not in known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6 if all_are_ours else _NEAR)
        hint = f"did you mean {near[0]}:=?" if near else "see --show-args"
        sentence = f"{name}:= is no argument of segment.launch.py: {hint}"
        if all_are_ours:
            raise ConfigurationError(sentence)
        said += [sentence] if near else []
    return said


class Choices:
    """What follows from the arguments. values: all of them, "" where none was given; presets: of config/cameras.yaml.

    camera: preset, or "none". names: of the cameras, [""] for one without a name before its topics. topics: "rgb",
    "depth" and "camera_info" of a camera, where "{camera}" stands for its name.
    """

    def __init__(self, values: Mapping[str, str], presets: Mapping[str, Mapping[str, str]]) -> None:
        self._presets, self._own = presets, presets["sim"]
        self.camera = _camera(values)
        _check(values, self.camera)
        self.names = _names(values["cameras"])
        self.topics = self._topics(values)
        self._check_shared()

    @property
    def announcement(self) -> str:
        """What is expected of the camera, for the log."""
        text = f"camera:={self.camera} expects colour on {self.topics['rgb']} and depth on {self.topics['depth']}"
        return f"{text}: {self._presets[self.camera]['enable']}" if self.camera in self._presets else text

    def remappings(self) -> list[tuple[str, str]]:
        """From the node's own names to the cameras', for each transport."""
        topics = self.topics
        pairs = [
            ("rgb/image", topics["rgb"]),
            ("rgb/image/compressed", topics["rgb"] + "/compressed"),
            ("depth/image", topics["depth"]),
            ("depth/image/compressedDepth", topics["depth"] + "/compressedDepth"),
            ("depth/image/compressed", topics["depth"] + "/compressed"),
            ("rgb/camera_info", topics["camera_info"]),
        ]
        return [
            (f"{name}/{own}".lstrip("/"), camera.replace("{camera}", name))
            for name in self.names
            for own, camera in pairs
            if own != camera
        ]

    def rviz_remappings(self, namespace: str) -> list[tuple[str, str]]:
        """From the names in rviz/segment.rviz to those of the first camera."""
        name = self.names[0]
        prefix = "".join(f"/{part}" for part in (namespace.strip("/"), name) if part)
        rgb = self.topics["rgb"].replace("{camera}", name)
        rgb = rgb if rgb.startswith("/") else f"{prefix}/{rgb}"
        outputs = [f"/segmentation/{output}" for output in ("overlay", "color", "legend", "points")]
        return [
            (own, new)
            for own, new in (("/rgb/image", rgb), *((output, prefix + output) for output in outputs))
            if own != new
        ]

    def _topics(self, values: Mapping[str, str]) -> dict[str, str]:
        preset = self._presets.get(self.camera, self._own)
        rgb = values["rgb_topic"] or preset["rgb"]
        beside_rgb = rgb.rpartition("/")[0] + "/camera_info" if values["rgb_topic"] else preset["camera_info"]
        return {
            "rgb": rgb,
            "depth": values["depth_topic"] or preset["depth"],
            "camera_info": values["camera_info_topic"] or beside_rgb.lstrip("/" if "/" not in rgb else ""),
        }

    def _check_shared(self) -> None:
        shared = [topic for kind, topic in self.topics.items() if topic != self._own[kind] and "{camera}" not in topic]
        if len(self.names) > 1 and shared:
            raise ConfigurationError(
                f"{len(self.names)} cameras cannot share {' and '.join(shared)}: write {{camera}} in rgb_topic, "
                "depth_topic and camera_info_topic, where their names differ"
            )


def dds_environment(profile: str) -> dict[str, str]:
    """The variables that give a node a Fast DDS profile. profile: package, none, or a file."""
    if profile == "none":
        return {}
    if profile == "package":
        return large_message_environment(os.environ)
    if Path(profile).is_file():
        return {"FASTDDS_DEFAULT_PROFILES_FILE": profile, "FASTRTPS_DEFAULT_PROFILES_FILE": profile}
    raise ConfigurationError(f"fastdds_profile:={profile} is neither package, none nor a file")


def _camera(values: Mapping[str, str]) -> str:
    topics = bool(values["rgb_topic"] or values["depth_topic"])
    camera = values["camera"]
    if camera == "auto":
        return "none" if topics else "sim"
    if camera in OWN_CAMERAS and topics:
        raise ConfigurationError(f"camera:={camera} publishes its own topics: leave out rgb_topic and depth_topic")
    return camera


def _names(text: str) -> list[str]:
    try:
        names = yaml.safe_load(text) if text else [""]
    except yaml.YAMLError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"cameras:={text} is no list of names: write it as cameras:='[front, rear]'")
    if text and not all(_CAMERA_NAME.fullmatch(name) for name in names):
        raise ConfigurationError(
            f"cameras:={text} has a name that no topic can have: letters, digits and _, no digit first"
        )
    return names


def _is_above_zero(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _check(values: Mapping[str, str], camera: str) -> None:
    folder, seed, file, rate = (values[name] for name in ("folder", "seed", "params_file", "target_rate"))
    for wrong, sentence in (
        (
            camera == "folder" and not folder,
            "camera:=folder needs folder:=PATH, a folder with frame-NNNNNN.color.jpg and .depth.png",
        ),
        (folder and camera != "folder", "folder:= is for camera:=folder"),
        (camera == "folder" and not Path(os.path.expanduser(folder)).is_dir(), f"folder:={folder} is not a folder"),
        (seed and camera != "sim", "seed:= is for camera:=sim"),
        (seed and not seed.isdecimal(), f"seed:={seed} is no whole number of at least 0"),
        (rate and not _is_above_zero(rate), f"target_rate:={rate} is no number above 0"),
        (not Path(file).is_file(), f"params_file:={file} is not a file"),
    ):
        if wrong:
            raise ConfigurationError(sentence)
    for topic, transport in (("rgb_topic", "image_transport"), ("depth_topic", "depth_image_transport")):
        base, _, suffix = values[topic].rpartition("/")
        if suffix in _TRANSPORTS:
            raise ConfigurationError(
                f"{topic}:={values[topic]} ends in a transport: write {topic}:={base} {transport}:={suffix}"
            )
