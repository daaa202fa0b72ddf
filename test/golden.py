"""The golden weights: each tensor made from its own published key, so that no file has to hold them."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).resolve().parent / "data"
KEYS_FILE = DATA / "state_dict_keys.json"
"""Key and shape of each tensor of the published layout, 40 classes."""
GOLDEN_FILE = DATA / "golden_64x96.npz"
"""Inputs of 64x96, and the logits and the maps of each stage that the published implementation answers."""


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
    return {key: _tensor(key, shape).clone() for key, shape in published_shapes(num_classes).items()}


@cache
def _tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    return seeded_tensor(key, shape)
