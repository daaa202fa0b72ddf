"""Parameters: declared once, described, limited, and the same as in config/segment.yaml."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS")
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.node.parameters import SPECS, declare, read, validate

pytestmark = pytest.mark.ros
CONFIG = Path(__file__).parents[1] / "config" / "segment.yaml"


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    context.init()
    yield context
    context.shutdown()


def node_with(context: rclpy.Context, *arguments: str) -> Node:
    return Node("parameters_test", context=context, cli_args=["--ros-args", *arguments])


def test_defaults_are_what_the_specification_says(context: rclpy.Context) -> None:
    settings = declare(node_with(context))
    assert {name: getattr(settings, name) for name in SPECS} == {name: spec.default for name, spec in SPECS.items()}


def test_the_params_file_holds_every_parameter_with_its_default() -> None:
    values = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    assert values == {name: spec.default for name, spec in SPECS.items()}


def test_every_parameter_is_described_and_read_only_unless_dynamic(context: rclpy.Context) -> None:
    node = node_with(context)
    declare(node)
    for name, spec in SPECS.items():
        descriptor = node.describe_parameter(name)
        assert descriptor.description.startswith(spec.description)
        assert descriptor.read_only is not spec.dynamic
        assert all(choice in descriptor.description for choice in spec.choices)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("backend", "tensorflow", "parameter backend is 'tensorflow': expected one of auto, torch"),
        ("image_transport", "theora", "'theora': expected one of raw, compressed"),
        ("slop", "-1.0", "parameter slop"),
        ("slop", "soon", "parameter slop"),
        ("overlay_alpha", "7.0", "parameter overlay_alpha"),
        ("cameras", "[front, front]", "one name or several different ones"),
        ("cameras", "['front camera']", "letters, digits and _"),
        ("cameras", "[2nd]", "letters, digits and _, no digit first"),
        ("max_age", ".nan", "parameter max_age is nan: expected a value from 0.0 to 3600.0"),
        ("input_size", "large", "parameter input_size is 'large': expected HEIGHTxWIDTH such as 480x640, auto"),
        ("slop", ".inf", "parameter slop is inf: expected"),
        ("max_age", "2", "parameter max_age.*with a decimal point"),
    ],
)
def test_a_bad_value_at_start_is_one_clear_error(context: rclpy.Context, name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        declare(node_with(context, "-p", f"{name}:={value}"))


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("overlay_alpha", 0.25, True),
        ("overlay_alpha", 1.5, False),
        ("min_confidence", "much", False),
        ("enabled", False, True),
        ("model", "other.safetensors", False),
        ("slop", 0.1, False),
    ],
)
def test_only_dynamic_parameters_change_and_only_within_limits(
    context: rclpy.Context, name: str, value: object, accepted: bool
) -> None:
    node = node_with(context)
    before = declare(node)
    node.add_on_set_parameters_callback(validate)
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert result.successful is accepted
    assert (getattr(read(node), name) == value) is accepted
    assert accepted or read(node) == before
