"""Every parameter of the segmentation node, once: default, description, range, read-only or dynamic."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException, ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSPolicyKind
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.pairing import PAIR_TIMEOUT, SLOP
from asymformer_ros.inference.choices import BACKENDS, DEVICES, SERVED_PRECISIONS
from asymformer_ros.models.sizes import read_size
from asymformer_ros.node.synchronizer import SYNCHRONIZERS

AUTO_SIZE = "auto"
"""The value of input_size that has a size chosen."""

_CAMERA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")

Value = bool | int | float | str | list[str]


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter: `choices` limits a string, `limits` a number (inclusive), `dynamic` lets it change at run time."""

    default: Value
    description: str
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | tuple[int, int] | None = None
    dynamic: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """What ROS tools show of it."""
        text = self.description + (f" One of: {', '.join(self.choices)}." if self.choices else "")
        descriptor = ParameterDescriptor(description=text, read_only=not self.dynamic)
        if self.limits and isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=self.limits[0], to_value=self.limits[1])]
        elif self.limits:
            descriptor.integer_range = [IntegerRange(from_value=self.limits[0], to_value=self.limits[1])]
        return descriptor


SPECS: dict[str, ParameterSpec] = {
    "model": ParameterSpec(
        "",
        "Model bundle (.safetensors) or ONNX file (.onnx); 'rooms', for real rooms; 'nyuv2' once it is downloaded; "
        "'demo', for simulated rooms; 'untrained' or 'untrained_full' to try the pipeline, whose labels mean nothing. "
        "Empty: nyuv2 where it is, else rooms.",
    ),
    "label_set": ParameterSpec(
        "", "Label set in place of the model's own: a name (nyuv2_40, nyuv2_13, sunrgbd_37) or a .json file of classes."
    ),
    "label_groups": ParameterSpec(
        "",
        "YAML file of groups of classes, which take their place in every output, as `drivable: [floor, floor_mat]`; "
        "empty keeps the classes.",
    ),
    "backend": ParameterSpec("auto", "What runs the network.", choices=BACKENDS),
    "device": ParameterSpec("auto", "Where PyTorch runs.", choices=DEVICES),
    "precision": ParameterSpec(
        "fp16",
        "What the network computes in. An engine is tried in it first, in fp16 for auto. PyTorch on CUDA computes in "
        "fp16, in fp32 where the labels are not those of fp32; in bf16 or fp32 where that is asked for. A CPU computes "
        "in fp32; in bf16 (OpenVINO) or int8 where that is asked for, or for auto where the camera's frames allow it.",
        choices=SERVED_PRECISIONS,
    ),
    "input_size": ParameterSpec(
        "",
        "HEIGHTxWIDTH that the network runs at, multiples of 32; auto for the largest that the model's card allows and "
        "that keeps target_rate on this machine; empty for the model's own.",
    ),
    "target_rate": ParameterSpec(
        0.0,
        "Labels per second of each camera that input_size auto is to keep, Hz; 0 where none is wanted.",
        limits=(0.0, 1000.0),
    ),
    "precision_report": ParameterSpec(
        "", "JSON of `asymformer precision`: which layers of a mixed engine stay in FP32; empty for none."
    ),
    "engine_cache": ParameterSpec("", "Folder of built engines; empty for ~/.cache/asymformer_ros/engines."),
    "workspace_mib": ParameterSpec(
        0,
        "Scratch memory that a layer of the engine may use, MiB; 0 leaves it to TensorRT.",
        limits=(0, 1 << 20),
    ),
    "cameras": ParameterSpec(
        [""],
        "Cameras that are segmented together: each name comes before its topics, as in front/rgb/image. "
        "One empty name is one camera without a prefix.",
    ),
    "autostart": ParameterSpec(True, "Configure and activate at start; false leaves it to a lifecycle manager."),
    "image_transport": ParameterSpec(
        "raw", "Transport of the colour image; compressed adds /compressed to its topic.", choices=("raw", "compressed")
    ),
    "depth_image_transport": ParameterSpec(
        "raw",
        "Transport of the depth image; compressedDepth adds /compressedDepth to its topic, compressed (PNG of 16 bit) "
        "adds /compressed.",
        choices=("raw", "compressedDepth", "compressed"),
    ),
    "slop": ParameterSpec(
        SLOP, "Largest difference of colour and depth stamps that makes a pair, seconds.", limits=(0.0, 10.0)
    ),
    "pair_timeout": ParameterSpec(
        PAIR_TIMEOUT,
        "How long a message waits for its partner: depth may come this much later, seconds.",
        limits=(0.0, 60.0),
    ),
    "synchronizer": ParameterSpec(
        "nearest_stamp",
        "What pairs colour with depth: the nearest stamps, or message_filters' ApproximateTimeSynchronizer.",
        choices=SYNCHRONIZERS,
    ),
    "max_pixels": ParameterSpec(
        1 << 24,
        "Images of more pixels than this are refused, compressed ones before they are decoded.",
        limits=(1, 1 << 26),
        dynamic=True,
    ),
    "allow_rgb_only": ParameterSpec(
        False,
        "Whether colour is segmented alone, with empty depth, while no depth comes; false waits for depth.",
    ),
    "depth_timeout": ParameterSpec(
        1.0,
        "Seconds without depth after which colour is segmented alone, where allow_rgb_only is true.",
        limits=(0.0, 60.0),
    ),
    "enabled": ParameterSpec(True, "Whether frames are segmented; false keeps everything loaded.", dynamic=True),
    "lazy": ParameterSpec(
        True,
        "Whether the camera's topics are left while nobody subscribes to an output; false keeps them, and the sync "
        "doctor goes on watching them.",
        dynamic=True,
    ),
    "overlay_alpha": ParameterSpec(
        0.5, "Weight of the palette in the overlay: 0 shows the camera, 1 the palette.", limits=(0.0, 1.0), dynamic=True
    ),
    "min_confidence": ParameterSpec(
        0.0, "Pixels whose confidence is below this get label 255; 0 keeps all.", limits=(0.0, 1.0), dynamic=True
    ),
    "temporal_smoothing": ParameterSpec(
        True,
        "Whether the class scores of each camera's newest frames are blended where the scene stays the same, so that "
        "labels flicker less.",
        dynamic=True,
    ),
    "max_age": ParameterSpec(
        0.0,
        "Frames older than this are dropped, never published, seconds; 0 sets no limit.",
        limits=(0.0, 3600.0),
        dynamic=True,
    ),
    "snapshot_folder": ParameterSpec(
        "",
        "Folder that ~/save_snapshot makes its folders in; empty for ~/.local/share/asymformer_ros/snapshots.",
        dynamic=True,
    ),
}


@dataclass(frozen=True)
class Settings:
    """The values of all parameters at one moment; a new one replaces it when a dynamic parameter changes."""

    model: str
    label_set: str
    label_groups: str
    backend: str
    device: str
    precision: str
    input_size: str
    target_rate: float
    precision_report: str
    engine_cache: str
    workspace_mib: int
    cameras: list[str]
    autostart: bool
    image_transport: str
    depth_image_transport: str
    slop: float
    pair_timeout: float
    synchronizer: str
    max_pixels: int
    allow_rgb_only: bool
    depth_timeout: float
    enabled: bool
    lazy: bool
    overlay_alpha: float
    min_confidence: float
    temporal_smoothing: bool
    max_age: float
    snapshot_folder: str


def declare(node: Node) -> Settings:
    """Declare every parameter and read its value. Raises ConfigurationError for a value of the wrong type or range."""
    for name, spec in SPECS.items():
        try:
            node.declare_parameter(name, spec.default, spec.descriptor())
        except InvalidParameterValueException as error:
            low, high = spec.limits or ("", "")
            came = re.search(r"value \((.*?)\)", str(error))
            raise ConfigurationError(
                f"parameter {name} is {came[1] if came else 'out of range'}: expected a value from {low} to {high}"
            ) from error
        except InvalidParameterTypeException as error:
            hint = ", with a decimal point" if isinstance(spec.default, float) else ""
            raise ConfigurationError(f"parameter {name}: {error}: expected one like {spec.default}{hint}") from error
        problem = _problem(name, node.get_parameter(name).value)
        if problem:
            raise ConfigurationError(problem)
    return read(node)


@contextmanager
def qos_overrides(topic: str) -> Iterator[QoSOverridingOptions]:
    """Make a publisher or subscription with these options: the user's `qos_overrides` parameters for it.

    Hand it a QoSProfile of its own: rclpy writes the overrides into it. Raises ConfigurationError where they are not
    what ROS knows.
    """
    policies = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    try:
        yield QoSOverridingOptions(policies)
    except (RuntimeError, ParameterException, InvalidQosOverridesError) as error:  # RuntimeError: RCLError, too
        raise ConfigurationError(
            f"topic {topic} cannot be had as its qos_overrides say: {error}; expected history keep_last or keep_all, "
            "depth a whole number, reliability reliable or best_effort, durability volatile or transient_local"
        ) from error


def read(node: Node) -> Settings:
    """The present value of every parameter."""
    return Settings(**{field.name: node.get_parameter(field.name).value for field in fields(Settings)})


def validate(parameters: Sequence[Parameter]) -> SetParametersResult:
    """Accept or refuse a change, for `add_on_set_parameters_callback`; ROS itself refuses types, ranges, read-only."""
    problems = [problem for parameter in parameters if (problem := _problem(parameter.name, parameter.value))]
    return SetParametersResult(successful=not problems, reason="; ".join(problems))


def _problem(name: str, value: Value) -> str:
    spec = SPECS.get(name)
    if isinstance(value, list) and (not value or len(set(value)) != len(value)):
        return f"parameter {name} is {value}: expected one name or several different ones"
    if name == "cameras" and isinstance(value, list) and value != [""]:
        bad = [one for one in value if not _CAMERA_NAME.fullmatch(one)]
        return f"parameter {name} has {bad}: expected letters, digits and _, no digit first, / between" if bad else ""
    if name == "input_size" and value not in ("", AUTO_SIZE) and not _is_size(value):
        return f"parameter {name} is '{value}': expected HEIGHTxWIDTH such as 480x640, {AUTO_SIZE}, or nothing"
    if isinstance(value, float) and not math.isfinite(value):
        return f"parameter {name} is {value}: expected a number like {spec.default if spec else 0.0}"
    if spec is None or not spec.choices or value in spec.choices:
        return ""
    return f"parameter {name} is '{value}': expected one of {', '.join(spec.choices)}"


def _is_size(value: Value) -> bool:
    try:
        read_size(str(value))
    except ValueError:
        return False
    return True
