"""Start semantic segmentation on a camera: `ros2 launch asymformer_ros segment.launch.py --show-args`."""

import os
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
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
    ("depth_image_transport", "", f"Transport of the depth image. {KEEP}", ["", "raw", "compressedDepth"]),
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
        "fastdds_profile",
        "package",
        "Fast DDS profile for the nodes: package (room for whole images in shared memory; not where the environment "
        "already chooses a profile or transports), none, or a file.",
        None,
    ),
]


def generate_launch_description():
    """Declare the arguments; everything else follows from their values."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, default, description, choices in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext):
    """The actions for the values given."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    camera = choose_camera(values)
    check_values(values, camera)
    if camera == "sim" and not values["model"] and values["params_file"] == PARAMETERS:
        values["model"] = "demo"
    topics = choose_topics(values, camera)
    actions = [*dds_environment(values["fastdds_profile"]), LogInfo(msg=announcement(camera, topics))]
    names = camera_names(values["cameras"])
    if camera in OWN_CAMERAS:
        actions += [camera_node(values, camera, name) for name in names]
    actions.append(segmentation_node(values, topics, names))
    return actions + (rviz(values, topics, names[0]) if values["rviz"] == "true" else [])


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
    if not Path(values["params_file"]).is_file():
        raise RuntimeError(f"params_file:={values['params_file']} is not a file")


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
    """Set the Fast DDS profile for the processes that follow."""
    if profile == "none":
        return []
    if profile == "package":
        variables = large_message_environment(os.environ)
    elif Path(profile).is_file():
        variables = {"FASTDDS_DEFAULT_PROFILES_FILE": profile, "FASTRTPS_DEFAULT_PROFILES_FILE": profile}
    else:
        raise RuntimeError(f"fastdds_profile:={profile} is neither package, none nor a file")
    return [SetEnvironmentVariable(name, value) for name, value in variables.items()]


def announcement(camera, topics):
    text = f"camera:={camera} expects colour on {topics['rgb']} and depth on {topics['depth']}"
    return f"{text}: {CAMERAS[camera]['enable']}" if camera in CAMERAS else text


def text_parameter(value):
    return ParameterValue(value, value_type=str)


def sim_time(values):
    return {"use_sim_time": values["use_sim_time"] == "true"} if values["use_sim_time"] else {}


def camera_node(values, camera, name):
    seed = {"seed": int(values["seed"])} if values["seed"] else {}
    parameters = {"source": camera, "folder": text_parameter(values["folder"]), **seed, **sim_time(values)}
    return Node(
        package="asymformer_ros",
        executable="camera_node",
        name="camera_node",
        namespace="/".join(filter(None, (values["namespace"], name))),
        parameters=[parameters],
        output="screen",
        on_exit=Shutdown(reason="camera_node ended"),
    )


def segmentation_node(values, topics, names):
    given = ("model", "backend", "image_transport", "depth_image_transport")
    explicit = {name: text_parameter(values[name]) for name in given if values[name]}
    if values["cameras"]:
        explicit["cameras"] = names
    return Node(
        package="asymformer_ros",
        executable="segmentation_node",
        name="segmentation_node",
        namespace=values["namespace"],
        parameters=[values["params_file"], {**explicit, **sim_time(values)}],
        remappings=[pair for name in names for pair in remappings(topics, name, len(names))],
        output="screen",
        on_exit=Shutdown(reason="segmentation_node ended"),
    )


def remappings(topics, name, cameras):
    """From the node's own names to a camera's, for each transport."""
    if cameras > 1 and topics["rgb"].startswith("/") and "{camera}" not in topics["rgb"]:
        raise RuntimeError(
            f"{cameras} cameras cannot share {topics['rgb']}: write {{camera}} in rgb_topic, depth_topic"
        )
    pairs = [
        ("rgb/image", topics["rgb"]),
        ("rgb/image/compressed", topics["rgb"] + "/compressed"),
        ("depth/image", topics["depth"]),
        ("depth/image/compressedDepth", topics["depth"] + "/compressedDepth"),
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
    outputs = [f"/segmentation/{name}" for name in ("overlay", "color", "points")]
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
