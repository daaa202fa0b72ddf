"""An engine is trusted only after it has answered like FP32: the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import BackendError

MIN_AGREEMENT = 0.995
"""Share of pixels, in each golden frame, that must have the label of the FP32 network."""


@dataclass(frozen=True)
class Verification:
    """How an engine's answers compare with FP32.

    agreement: share of equal labels in the worst frame, 0..1. finite: whether no answer has NaN or infinity.
    fp32_convolutions: how many convolutions of an engine of lower precision compute in FP32, None where not known.
    """

    frames: int
    agreement: float
    finite: bool
    fp32_convolutions: int | None = None

    @property
    def problem(self) -> str:
        """Why the engine must not serve, "" where it may."""
        if not self.finite:
            return "its answers have NaN or infinity"
        if self.frames == 0:
            return "there was no golden frame to verify it with"
        if self.agreement < MIN_AGREEMENT:
            return (
                f"only {self.agreement:.2%} of its labels in the worst of {self.frames} frames are those of FP32: "
                f"expected {MIN_AGREEMENT:.1%}"
            )
        return ""

    @property
    def passed(self) -> bool:
        return not self.problem

    def told(self, frames: str) -> str:
        """The agreement in a sentence. frames: what they are, as "simulated frames"."""
        return f"{self.agreement:.2%} of the labels in the worst of {self.frames} {frames} are those of FP32"

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Verification:
        """Inverse of `to_json`. Raises KeyError or TypeError."""
        verification = Verification(**data)
        if not all(isinstance(value, int | float) for value in (verification.frames, verification.agreement)):
            raise TypeError(f"frames and agreement are numbers, got {data}")
        return verification


@dataclass(frozen=True)
class Answer:
    """What a network says to one frame: labels (h, w) uint8, and the logits or confidence, any shape, where known."""

    labels: NDArray[np.uint8]
    values: NDArray[Any] | None = None


def verify(expected: Sequence[Answer], got: Sequence[Answer], fp32_convolutions: int | None = None) -> Verification:
    """Compare the engine's answers with those of FP32 to the same frames.

    Raises BackendError where their number or size differs: then it is not the same model.
    """
    if len(expected) != len(got):
        raise BackendError(f"the engine answered {len(got)} of {len(expected)} golden frames")
    shares = [_agreement(reference.labels, answer.labels) for reference, answer in zip(expected, got, strict=True)]
    finite = all(answer.values is None or bool(np.isfinite(answer.values).all()) for answer in got)
    return Verification(len(shares), min(shares, default=0.0), finite, fp32_convolutions)


def _agreement(expected: NDArray[np.uint8], got: NDArray[np.uint8]) -> float:
    if expected.shape != got.shape:
        raise BackendError(f"the engine gives labels of size {got.shape}, expected {expected.shape}: another model?")
    return float(np.mean(expected == got))
