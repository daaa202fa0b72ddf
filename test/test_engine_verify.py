"""The rule by which an engine is trusted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
