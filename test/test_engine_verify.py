"""The rule by which an engine is trusted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asymformer_ros.engine.inspector import count_precisions, fp32_convolutions, read_layers
from asymformer_ros.engine.verify import MIN_AGREEMENT, Answer, verify
from asymformer_ros.errors import BackendError


def answer(wrong: int = 0, value: float = 1.0) -> Answer:
    """Labels of 1000 pixels, `wrong` of which differ from those of `answer()`."""
    labels = np.zeros((20, 50), np.uint8)
    labels.ravel()[:wrong] = 1
    return Answer(labels, np.full((40, 5, 12), value, np.float32))


@given(wrong=st.integers(0, 1000))
def test_agreement_is_the_share_of_equal_labels(wrong: int) -> None:
    found = verify([answer()], [answer(wrong)])
    assert found.agreement == pytest.approx(1 - wrong / 1000)
    assert found.passed is (found.agreement >= MIN_AGREEMENT)


@pytest.mark.parametrize(("wrong", "passed"), [(5, True), (6, False)])
def test_the_worst_frame_decides(wrong: int, passed: bool) -> None:
    found = verify([answer()] * 3, [answer(), answer(wrong), answer()])
    assert found.frames == 3
    assert found.passed is passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_or_infinity_anywhere_fails_whatever_the_labels(value: float) -> None:
    found = verify([answer()] * 2, [answer(), answer(value=value)])
    assert found.agreement == 1.0
    assert found.problem == "its answers have NaN or infinity"


def test_no_frame_is_no_proof() -> None:
    assert verify([], []).problem == "there was no golden frame to verify it with"


def test_another_number_or_size_of_answers_is_an_error() -> None:
    with pytest.raises(BackendError, match="answered 1 of 2 golden frames"):
        verify([answer()] * 2, [answer()])
    with pytest.raises(BackendError, match="another model"):
        verify([answer()], [Answer(np.zeros((10, 10), np.uint8))])


def test_the_problem_is_told_in_numbers() -> None:
    told = verify([answer()], [answer(100)]).problem
    assert told == "only 90.00% of its labels in the worst of 1 frames are those of FP32: expected 99.5%"


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
    with pytest.raises(BackendError, match="cannot be read"):
        read_layers(text)
