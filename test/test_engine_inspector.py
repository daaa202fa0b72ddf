"""What the engine inspector tells, in the forms that TensorRT's versions give it."""

from __future__ import annotations

import io
import json

import pytest
from fake_tensorrt import FakeTensorRt

from asymformer_ros.engine import build_child
from asymformer_ros.engine.api import TensorRt
from asymformer_ros.engine.inspector import count_precisions, fp32_convolutions, read_layers

INSPECTED = """{"Layers": [
 {"Name": "/stem/Conv", "LayerType": "CaskConvolution",
  "Inputs": [{"Name": "x", "Format/Datatype": "Channel major FP16 format where channel % 8"}],
  "Outputs": [{"Name": "y", "Dimensions": [1, 8, 8, 8], "Format/Datatype": "Half"}]},
 {"Name": "/head/Conv", "LayerType": "CaskConvolution",
  "Inputs": [{"Name": "y", "Format/Datatype": "Row major linear FP32"}],
  "Outputs": [{"Name": "z", "Format/Datatype": "Float"}]},
 {"Name": "/norm", "LayerType": "Normalization", "Inputs": [{"Name": "z", "Format/Datatype": "Float"}],
  "Outputs": [{"Name": "z", "Format/Datatype": "Float"}]},
 {"Name": "/cast", "LayerType": "kgen", "Inputs": [], "Outputs": [{"Name": "labels", "Format/Datatype": "UInt8"}]}
], "Bindings": ["x", "labels"]}"""


def test_precisions_of_layers_are_read_from_the_inspectors_json() -> None:
    layers = read_layers(INSPECTED)
    assert count_precisions(layers) == {"fp16": 1, "fp32": 2, "uint8": 1}
    assert fp32_convolutions(layers) == ("/head/Conv",)


def test_layers_without_details_are_unknown() -> None:
    layers = read_layers('{"Layers": ["/stem/Conv", "/head/Conv"], "Bindings": []}')
    assert count_precisions(layers) == {"unknown": 2}
    assert fp32_convolutions(layers) == ()


@pytest.mark.parametrize("text", ["", "[]", '{"Layers": [3]}', '{"Layers": [{}]}'])
def test_an_answer_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_layers(text)


FUSED = """{"Layers": [{"Name": "/stem/Conv + /stem/Relu", "LayerType": "CaskConvolution",
 "Inputs": [{"Name": "x", "Format/Datatype": "Half"}], "Outputs": [{"Name": "y", "Format/Datatype": "Half"}],
 "Metadata": "[ONNX Layer: /stem/Conv]SEPARATOR[ONNX Layer: /stem/Relu]"}], "Bindings": []}"""


@pytest.mark.parametrize("separator", ["\x1e", "\x1f", "\\u001e", "\\u001f", "\t", "\x1e\x1f"])
def test_control_characters_between_the_entries_of_a_fused_layer_are_read(separator: str) -> None:
    layers = read_layers(FUSED.replace("SEPARATOR", separator))
    assert count_precisions(layers) == {"fp16": 1}
    assert [layer.name for layer in layers] == ["/stem/Conv + /stem/Relu"]


def inspect_with(answer: str) -> tuple[dict[str, object], list[dict[str, object]]]:
    """What the build's child makes of an inspector's answer, and what it reports meanwhile."""
    trt, stream = FakeTensorRt("8.6.1", []), io.StringIO()
    trt.inspected = answer
    library = TensorRt("tensorrt", "8.6.1", trt)
    told = build_child._inspect(library, b"plan", None, build_child.Reporter(stream))
    return told, [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_answer_that_cannot_be_read_ends_no_build() -> None:
    told, events = inspect_with("the inspector of tomorrow")
    assert told == {}
    assert [event["severity"] for event in events if event["event"] == "log"] == ["WARNING"]
    assert "the engine inspector's answer cannot be read" in str(events[-1]["message"])


def test_an_answer_of_a_version_that_writes_control_characters_is_told() -> None:
    told, events = inspect_with(FUSED.replace("SEPARATOR", "\x1e"))
    assert told == {"precisions": {"fp16": 1}, "fp32_convolutions": ()}
    assert not [event for event in events if event["event"] == "log"]
