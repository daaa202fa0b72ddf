"""The folder of a training: what it was started with, and the state that it is continued from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.system.files import write_atomically

MODEL, STATE, LOG, BOARD = "model.safetensors", "last.pt", "log.jsonl", "tensorboard"


@dataclass
class Progress:
    """What a training has done beside the weights: epochs that are evaluated, the best score, sums of this epoch."""

    evaluated: int = 0
    best: float = -1.0
    best_epoch: int = 0
    loss_sum: float = 0.0
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Saved:
    """Content of the state file."""

    trainer: dict[str, Any]
    progress: Progress = field(default_factory=Progress)


def save_state(folder: Path, settings: Mapping[str, object], saved: Saved) -> None:
    """Write the state, whole or not at all. Raises CheckpointError where it cannot be written."""
    content = {"settings": json.dumps(settings), "trainer": saved.trainer, "progress": vars(saved.progress)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        write_atomically(folder / STATE, buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(f"cannot write {folder / STATE}: {error.strerror}") from error


def load_state(folder: Path, settings: Mapping[str, object]) -> Saved | None:
    """The state of a folder, or None where there is none.

    Raises CheckpointError where the file is damaged, ConfigurationError, which names what differs, where the folder
    belongs to a training with other settings.
    """
    path = folder / STATE
    if not path.exists():
        if (folder / MODEL).exists():
            raise ConfigurationError(f"{folder} has a {MODEL} but no {STATE}: choose another folder with -o")
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        stored = json.loads(content["settings"])
        saved = Saved(content["trainer"], Progress(**content["progress"]))
    except Exception as error:  # a damaged archive can raise anything
        raise CheckpointError(
            f"{path} is no state of a training, or is damaged ({type(error).__name__}): choose another folder with -o"
        ) from error
    differences = _differences(stored, json.loads(json.dumps(settings)))
    if differences:
        raise ConfigurationError(
            f"{folder} belongs to a training with other settings: {'; '.join(differences)}. "
            "Give the same again to continue it, or choose another folder with -o"
        )
    return saved


def require_same_settings(first: Mapping[str, object], own: Mapping[str, object]) -> None:
    """Raises ConfigurationError, which names what differs, for a process that is not to do as the first one does."""
    differences = _differences(first, own)
    if differences:
        raise ConfigurationError(
            f"the first process and another one differ: {'; '.join(differences)}. All must be given the same, and see "
            "the same data and folder OUT"
        )


def _differences(stored: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs; settings that an older version did not have yet are as they were, but classes may be new."""
    found: list[str] = []
    new = [key for key in now if key not in stored] if prefix == "class_map." else []
    for key in (*stored, *new):
        before, after = stored.get(key, "void"), now.get(key, "void")
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} was {before}, is {after}")
    return found
