"""Start semantic segmentation on a camera: `ros2 launch asymformer_ros segment.launch.py --show-args`."""

import difflib
import os
import re
import sys
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, LogInfo, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from asymformer_ros.node.fastdds import large_message_environment

SHARE = Path(__file__).parent.parent
CAMERAS = yaml.safe_load((SHARE / "config" / "cameras.yaml").read_text())
PARAMETERS = str(SHARE / "config" / "segment.yaml")
DEFAULT_TOPICS = CAMERAS["sim"]
OWN_CAMERAS = ("sim", "folder")
TRUE_OR_FALSE = ["true", "false"]
LOG_LEVELS = ["", "debug", "info", "warn", "error", "fatal"]
RESPAWN_DELAY = 2.0  # seconds, as Nav2 has it
CAMERA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
TRANSPORTS = ("compressed", "compressedDepth", "theora", "ffmpeg", "zstd")
KEEP = "Empty keeps what params_file says."

# name, default, description, choices
ARGUMENTS = [
    (
        "camera",
        "auto",
        "Camera whose topics to use; sim and folder also start a camera node; none takes rgb_topic, depth_topic and "
        "camera_info_topic; auto is none where rgb_topic or depth_topic is given, and sim otherwise.",
        ["auto", *CAMERAS, "none"],
    ),
    ("rgb_topic", "", "Topic of the colour image, in place of the camera's. Without transport suffix.", None),
    ("depth_topic", "", "Topic of the depth image registered to colour, in place of the camera's.", None),
    ("camera_info_topic", "", "CameraInfo of the colour image; empty: camera_info beside rgb_topic.", None),
    ("image_transport", "", f"Transport of the colour image. {KEEP}", ["", "raw", "compressed"]),
    (
        "depth_image_transport",
        "",
        f"Transport of the depth image. {KEEP}",
        ["", "raw", "compressedDepth", "compressed"],
    ),
    (
        "cameras",
        "",
        "Several cameras for one node, as [front, rear]: the names come before its topics. {camera} in rgb_topic, "
        "depth_topic and camera_info_topic stands for each name.",
        None,
    ),
    (
        "model",
        "",
        "Model bundle or ONNX file to load, demo, or untrained to try the pipeline. Empty keeps what params_file says; "
        "the simulated camera with the package's own params_file gets demo.",
        None,
    ),
    ("backend", "", f"What runs the network: auto, torch, onnxruntime or tensorrt. {KEEP}", None),
    ("params_file", PARAMETERS, "Parameters of the segmentation node.", None),
    ("namespace", "", "Namespace of the nodes and of their relative topics.", None),
    ("rviz", "false", "Show camera, overlay and labels in RViz.", TRUE_OR_FALSE),
    ("folder", "", "Recording that camera:=folder plays.", None),
    ("seed", "", "Of the first simulated room, a whole number; empty: the camera node's own.", None),
    ("use_sim_time", "", f"Take time from /clock. {KEEP}", ["", *TRUE_OR_FALSE]),
    (
        "autostart",
        "",
        f"Configure and activate at start; false leaves it to a lifecycle manager. {KEEP}",
        ["", *TRUE_OR_FALSE],
    ),
    ("use_respawn", "false", "Start a node again that has ended with an error.", TRUE_OR_FALSE),
    (
        "shutdown_on_exit",
        "auto",
        "End the whole launch when one of these nodes ends; auto: where this file is the one that `ros2 launch` was "
        "given and use_respawn is false, never where another launch file includes it.",
        ["auto", *TRUE_OR_FALSE],
    ),
    ("log_level", "", "Of the nodes; empty: ROS's own.", LOG_LEVELS),
    (
        "fastdds_profile",
        "package",
        "Fast DDS profile for the nodes: package (room for whole images in shared memory; not where the environment "
        "already chooses a profile or transports), none, or a file.",
        None,
    ),
]


def generate_launch_description():
    """Declare the arguments; everything else follows from their values. Nothing leaks to what is launched after it."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, default, description, choices in ARGUMENTS
    ]
    return LaunchDescription([GroupAction([*declared, OpaqueFunction(function=start)])])


def start(context: LaunchContext):
    """The actions for the values given."""
    if is_top():
        check_names(context.launch_configurations)
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    camera = choose_camera(values)
    check_values(values, camera)
    if camera == "sim" and not values["model"] and values["params_file"] == PARAMETERS:
        values["model"] = "demo"
    topics = choose_topics(values, camera)
    names = camera_names(values["cameras"])
    actions = [LogInfo(msg=announcement(camera, topics)), segmentation_node(values, topics, names)]
    if camera in OWN_CAMERAS:
        actions += [camera_node(values, camera, name) for name in names]
    return actions + (rviz(values, topics, names[0]) if values["rviz"] == "true" else [])


def is_top():
    """Whether `ros2 launch` was given this very file, rather than one that includes it."""
    return any(Path(argument).name == Path(__file__).name for argument in sys.argv)


def check_names(given):
    """Refuse arguments that nobody declares: `ros2 launch` takes them without a word."""
    known = [name for name, *_ in ARGUMENTS]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}:=?" if near else "see --show-args"
            raise RuntimeError(f"{name}:= is no argument of segment.launch.py: {hint}")


def choose_camera(values):
    if values["camera"] != "auto":
        camera = values["camera"]
    else:
        camera = "none" if values["rgb_topic"] or values["depth_topic"] else "sim"
    if camera in OWN_CAMERAS and (values["rgb_topic"] or values["depth_topic"]):
        raise RuntimeError(f"camera:={camera} publishes its own topics: leave out rgb_topic and depth_topic")
    return camera


def camera_names(text):
    """[""] stands for one camera without a name before its topics."""
    names = yaml.safe_load(text) if text else [""]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise RuntimeError(f"cameras:={text} is no list of names: write it as cameras:='[front, rear]'")
    if text and not all(CAMERA_NAME.fullmatch(name) for name in names):
        raise RuntimeError(f"cameras:={text} has a name that no topic can have: letters, digits and _, no digit first")
    return names


def check_values(values, camera):
    if camera == "folder" and not values["folder"]:
        raise RuntimeError("camera:=folder needs folder:=PATH, a folder with frame-NNNNNN.color.jpg and .depth.png")
    if values["folder"] and camera != "folder":
        raise RuntimeError("folder:= is for camera:=folder")
    if camera == "folder" and not Path(values["folder"]).expanduser().is_dir():
        raise RuntimeError(f"folder:={values['folder']} is not a folder")
    if values["seed"] and camera != "sim":
        raise RuntimeError("seed:= is for camera:=sim")
    if values["seed"] and not values["seed"].isdecimal():
        raise RuntimeError(f"seed:={values['seed']} is no whole number of at least 0")
    check_topics(values)
    if not Path(values["params_file"]).is_file():
        raise RuntimeError(f"params_file:={values['params_file']} is not a file")


def check_topics(values):
    for name in ("rgb_topic", "depth_topic"):
        base, _, transport = values[name].rpartition("/")
        if transport in TRANSPORTS:
            argument = "image_transport" if name == "rgb_topic" else "depth_image_transport"
            raise RuntimeError(
                f"{name}:={values[name]} ends in a transport: write {name}:={base} {argument}:={transport}"
            )


def choose_topics(values, camera):
    """Topics of the colour image, the depth image and the colour camera's info."""
    preset = CAMERAS.get(camera, DEFAULT_TOPICS)
    rgb = values["rgb_topic"] or preset["rgb"]
    beside_rgb = rgb.rpartition("/")[0] + "/camera_info" if values["rgb_topic"] else preset["camera_info"]
    return {
        "rgb": rgb,
        "depth": values["depth_topic"] or preset["depth"],
        "camera_info": values["camera_info_topic"] or beside_rgb.lstrip("/" if "/" not in rgb else ""),
    }


def dds_environment(profile):
    """The variables that give a node the Fast DDS profile."""
    if profile == "none":
        return {}
    if profile == "package":
        return large_message_environment(os.environ)
    if Path(profile).is_file():
        return {"FASTDDS_DEFAULT_PROFILES_FILE": profile, "FASTRTPS_DEFAULT_PROFILES_FILE": profile}
    raise RuntimeError(f"fastdds_profile:={profile} is neither package, none nor a file")


def announcement(camera, topics):
    text = f"camera:={camera} expects colour on {topics['rgb']} and depth on {topics['depth']}"
    return f"{text}: {CAMERAS[camera]['enable']}" if camera in CAMERAS else text


def text_parameter(value):
    return ParameterValue(value, value_type=str)


def own_node(values, executable, **more):
    """A node of this package, with what all of them share."""
    respawn = values["use_respawn"] == "true"
    shutdown = values["shutdown_on_exit"]
    ends_all = shutdown == "true" or (shutdown == "auto" and is_top() and not respawn)
    return Node(
        package="asymformer_ros",
        executable=executable,
        name=executable,
        output="screen",
        additional_env=dds_environment(values["fastdds_profile"]),
        ros_arguments=["--log-level", values["log_level"]] if values["log_level"] else [],
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY,
        on_exit=Shutdown(reason=f"{executable} ended") if ends_all else None,
        **more,
    )


def sim_time(values):
    return {"use_sim_time": values["use_sim_time"] == "true"} if values["use_sim_time"] else {}


def camera_node(values, camera, name):
    seed = {"seed": int(values["seed"])} if values["seed"] else {}
    parameters = {"source": camera, "folder": text_parameter(values["folder"]), **seed, **sim_time(values)}
    namespace = "/".join(filter(None, (values["namespace"], name)))
    return own_node(values, "camera_node", namespace=namespace, parameters=[parameters])


def segmentation_node(values, topics, names):
    given = ("model", "backend", "image_transport", "depth_image_transport")
    explicit = {name: text_parameter(values[name]) for name in given if values[name]}
    if values["cameras"]:
        explicit["cameras"] = names
    if values["autostart"]:
        explicit["autostart"] = values["autostart"] == "true"
    return own_node(
        values,
        "segmentation_node",
        namespace=values["namespace"],
        parameters=[values["params_file"], {**explicit, **sim_time(values)}],
        remappings=[pair for name in names for pair in remappings(topics, name, len(names))],
    )


def remappings(topics, name, cameras):
    """From the node's own names to a camera's, for each transport."""
    shared = [topic for kind, topic in topics.items() if topic != DEFAULT_TOPICS[kind] and "{camera}" not in topic]
    if cameras > 1 and shared:
        raise RuntimeError(
            f"{cameras} cameras cannot share {' and '.join(shared)}: write {{camera}} in rgb_topic, depth_topic and "
            "camera_info_topic, where their names differ"
        )
    pairs = [
        ("rgb/image", topics["rgb"]),
        ("rgb/image/compressed", topics["rgb"] + "/compressed"),
        ("depth/image", topics["depth"]),
        ("depth/image/compressedDepth", topics["depth"] + "/compressedDepth"),
        ("depth/image/compressed", topics["depth"] + "/compressed"),
        ("rgb/camera_info", topics["camera_info"]),
    ]
    before = f"{name}/" if name else ""
    return [(before + own, camera.replace("{camera}", name)) for own, camera in pairs if own != camera]


def rviz(values, topics, name):
    """RViz on the first camera."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz:=true is left out: the package rviz2 is not installed")]
    prefix = "".join(f"/{part}" for part in (values["namespace"].strip("/"), name) if part)
    rgb = topics["rgb"].replace("{camera}", name)
    rgb = rgb if rgb.startswith("/") else f"{prefix}/{rgb}"
    outputs = [f"/segmentation/{name}" for name in ("overlay", "color", "legend", "points")]
    moved = [("/rgb/image", rgb), *((name, prefix + name) for name in outputs)]
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            arguments=["-d", str(SHARE / "rviz" / "segment.rviz")],
            parameters=[sim_time(values)],
            remappings=[(own, new) for own, new in moved if own != new],
            output="screen",
        )
    ]
