"""FP16: what it holds, and which weights are stored in it. Needs NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import CheckpointError

HALF_MAX = 65504.0
"""The largest value."""

HALF_TINY = 6e-8
"""Below this there is only zero."""

_MANY = 4096  # weights, over which the errors of rounding each average out


def rounded_to_half(values: NDArray[Any]) -> NDArray[np.float16] | None:
    """Values in FP16, or None where one of them is beyond HALF_MAX."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.isfinite(half).all() else None


def stored_by_half(name: str, values: NDArray[np.float32]) -> NDArray[np.float16] | None:
    """A weight tensor as a file with FP16 storage holds it, or None where it stays in FP32 there.

    Matrices and kernels that FP16 holds exactly are stored in it, and large ones are rounded to it. Vectors (norms,
    biases) are few and sensitive, and stay. Raises CheckpointError where a weight is beyond FP16.
    """
    if values.ndim < 2:
        return None
    half = rounded_to_half(values)
    if values.size < _MANY and (half is None or not np.array_equal(half.astype(np.float32), values)):
        return None
    if half is None:
        raise CheckpointError(f"{name} has weights beyond FP16's {HALF_MAX:.0f}: leave `--half` away")
    return half
