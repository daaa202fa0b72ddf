"""Start semantic segmentation on a camera: `ros2 launch asymformer_ros segment.launch.py --show-args`."""

import sys
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, LogInfo, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from asymformer_ros.node import OWN_CAMERAS
from asymformer_ros.node.launch_choices import Choices, check_names, dds_environment

SHARE = Path(__file__).parent.parent
CAMERAS = yaml.safe_load((SHARE / "config" / "cameras.yaml").read_text())
PARAMETERS = str(SHARE / "config" / "segment.yaml")
TRUE_OR_FALSE = ["true", "false"]
LOG_LEVELS = ["", "debug", "info", "warn", "error", "fatal"]
RESPAWN_DELAY = 2.0  # seconds, as Nav2 has it
SIGTERM_TIMEOUT = "15"  # seconds after Ctrl-C: a node waits up to 10 s for a model that is being loaded
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
        "Model bundle or ONNX file to load, rooms, nyuv2, demo, or untrained to try the pipeline. Empty keeps what "
        "params_file says; with the package's own: demo for the simulated camera, for all others nyuv2 where it was "
        "downloaded, else rooms.",
        None,
    ),
    ("backend", "", f"What runs the network: auto, torch, onnxruntime or tensorrt. {KEEP}", None),
    (
        "precision",
        "",
        "What the network computes in: auto, fp32, fp16 or mixed (engines), bf16 or int8 (CPUs). Empty keeps what "
        "params_file says.",
        None,
    ),
    (
        "input_size",
        "",
        "HEIGHTxWIDTH that the network runs at; auto for the largest that keeps target_rate here. Empty is auto where "
        "target_rate is given, and else keeps what params_file says.",
        None,
    ),
    ("target_rate", "", f"Labels a second of each camera that are to be kept, Hz. {KEEP}", None),
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
    names = [name for name, *_ in ARGUMENTS]
    near = check_names(context.launch_configurations, names, all_are_ours=is_top())
    values = {name: LaunchConfiguration(name).perform(context) for name in names}
    choices = Choices(values, CAMERAS)
    if choices.camera == "sim" and not values["model"] and values["params_file"] == PARAMETERS:
        values["model"] = "demo"
    actions = [LogInfo(msg=text) for text in (*near, choices.announcement)]
    actions.append(segmentation_node(values, choices))
    if choices.camera in OWN_CAMERAS:
        actions += [camera_node(values, choices.camera, name) for name in choices.names]
    return actions + (rviz(values, choices) if values["rviz"] == "true" else [])


def is_top():
    """Whether `ros2 launch` was given this very file, rather than one that includes it."""
    return any(Path(argument).name == Path(__file__).name for argument in sys.argv)


def text_parameter(value):
    return ParameterValue(value, value_type=str)


def sim_time(values):
    return {"use_sim_time": values["use_sim_time"] == "true"} if values["use_sim_time"] else {}


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
        sigterm_timeout=SIGTERM_TIMEOUT,
        respawn_delay=RESPAWN_DELAY,
        on_exit=Shutdown(reason=f"{executable} ended") if ends_all else None,
        **more,
    )


def camera_node(values, camera, name):
    seed = {"seed": int(values["seed"])} if values["seed"] else {}
    parameters = {"source": camera, "folder": text_parameter(values["folder"]), **seed, **sim_time(values)}
    namespace = "/".join(filter(None, (values["namespace"], name)))
    return own_node(values, "camera_node", namespace=namespace, parameters=[parameters])


def segmentation_node(values, choices):
    given = ("model", "backend", "precision", "input_size", "image_transport", "depth_image_transport")
    explicit = {name: text_parameter(values[name]) for name in given if values[name]}
    if values["target_rate"]:
        explicit |= {"input_size": "auto", **explicit, "target_rate": float(values["target_rate"])}
    if values["cameras"]:
        explicit["cameras"] = choices.names
    if values["autostart"]:
        explicit["autostart"] = values["autostart"] == "true"
    return own_node(
        values,
        "segmentation_node",
        namespace=values["namespace"],
        parameters=[values["params_file"], {**explicit, **sim_time(values)}],
        remappings=choices.remappings(),
    )


def rviz(values, choices):
    """RViz on the first camera."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz:=true is left out: the package rviz2 is not installed")]
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            arguments=["-d", str(SHARE / "rviz" / "segment.rviz")],
            parameters=[sim_time(values)],
            remappings=choices.rviz_remappings(values["namespace"]),
            output="screen",
        )
    ]
