"""The golden weights: each tensor made from its own published key, so that no file has to hold them."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

SHARED = Path(__file__).resolve().parents[2] / "shared"
KEYS_FILE = SHARED / "model" / "state_dict_keys.json"
GOLDEN_FILE = SHARED / "model" / "golden_64x96.npz"

needs_keys = pytest.mark.skipif(not KEYS_FILE.exists(), reason="the published key list (../shared/model) is not here")
needs_golden = pytest.mark.skipif(not GOLDEN_FILE.exists(), reason="the golden values (../shared/model) are not here")


def published_shapes(num_classes: int = 40) -> dict[str, tuple[int, ...]]:
    """Key and shape of every tensor of the current published layout."""
    shapes = {key: tuple(shape) for key, shape in json.loads(KEYS_FILE.read_text()).items()}
    for key in ("Decoder.linear_pred.weight", "Decoder.linear_pred.bias"):
        shapes[key] = (num_classes, *shapes[key][1:])
    return shapes


def seeded_tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that belongs to a published key."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    return torch.from_numpy(np.asarray(_seeded_values(key, shape), dtype=np.float32))


def _seeded_values(key: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        return 0.5 + rng.random(shape)
    if key.endswith("running_mean"):
        return 0.1 * rng.standard_normal(shape)
    if key.endswith("gamma"):
        return 0.3 + 0.05 * rng.standard_normal(shape)
    if key.endswith("bias"):
        return 0.05 * rng.standard_normal(shape)
    if len(shape) == 1:
        return 1 + 0.1 * rng.standard_normal(shape)
    return rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))


def published_state(num_classes: int = 40) -> dict[str, Tensor]:
    """The whole state dict in the current published layout (132 MB)."""
    return {key: seeded_tensor(key, shape) for key, shape in published_shapes(num_classes).items()}
