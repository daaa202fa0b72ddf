"""What is known about one engine, in a JSON file beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asymformer_ros import __version__
from asymformer_ros.engine.verify import Verification
from asymformer_ros.system.files import parse_json

FORMAT = "asymformer_engine"
VERSION = 2


@dataclass(frozen=True)
class EngineIdentity:
    """All that an engine depends on; where one thing differs, the engine cannot be used.

    model_name: for people. model_sha256: of the model, however it is stored. precision: that was asked for.
    shapes: of inputs, by name. gpu, compute_capability: "" where it was built without a GPU. multiprocessors,
    memory_gib: of the GPU, 0 without one; modules of one name differ in them. package_version: of this package, whose
    export the engine is built of.
    """

    model_name: str
    model_sha256: str
    precision: str
    shapes: Mapping[str, tuple[int, ...]]
    builder: str
    builder_version: str
    gpu: str = ""
    compute_capability: str = ""
    multiprocessors: int = 0
    memory_gib: int = 0
    pinned: tuple[str, ...] = ()
    package_version: str = __version__

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "shapes": {name: list(shape) for name, shape in self.shapes.items()}}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> EngineIdentity:
        """Inverse of `to_json`. Raises KeyError or TypeError where something is missing or of another type."""
        shapes = {name: tuple(shape) for name, shape in dict(data["shapes"]).items()}
        return EngineIdentity(**{**data, "shapes": shapes, "pinned": tuple(data["pinned"])})


@dataclass(frozen=True)
class EngineManifest:
    """Everything about one engine.

    served_precision: what was built in the end, where the asked-for precision could not be built or failed its
    verification. workspace_mib, optimization_level: that it was built with, None for the builder's own choice: records,
    nothing that the engine depends on.
    plan_bytes, plan_sha256: size and hash of the plan's file. build_seconds: of the builder alone. precisions: number
    of layers by precision as the engine inspector tells, None where there was no GPU to ask.
    verification: None where there was no GPU to run it.
    """

    identity: EngineIdentity
    served_precision: str
    plan_bytes: int
    plan_sha256: str
    created: str
    build_seconds: float
    precisions: Mapping[str, int] | None = None
    verification: Verification | None = None
    notes: tuple[str, ...] = field(default=())
    workspace_mib: int | None = None
    optimization_level: int | None = None

    def to_json(self) -> str:
        """JSON text, for `from_json`."""
        verification = None if self.verification is None else self.verification.to_json()
        data = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps({**data, "identity": self.identity.to_json(), "verification": verification}, indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> EngineManifest:
        """Inverse of `to_json`. Raises ValueError, which says what is wrong, for anything else."""
        try:
            data = parse_json(text)
            if (data.pop("format"), version := data.pop("version")) != (FORMAT, VERSION):
                raise ValueError(f"it is of version {version}, this package writes version {VERSION}")
            verification = data["verification"]
            data["identity"] = EngineIdentity.from_json(data["identity"])
            data["verification"] = None if verification is None else Verification.from_json(verification)
            return EngineManifest(**{**data, "notes": tuple(data["notes"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__} {error}") from error


def differences(wanted: EngineIdentity, found: EngineIdentity) -> tuple[str, ...]:
    """One sentence for each thing in which an engine is not what is wanted."""
    return tuple(
        f"{what} {_show(getattr(found, name))}, now it is {_show(getattr(wanted, name))}"
        for name, what in _SENTENCES.items()
        if getattr(wanted, name) != getattr(found, name)
    )


_SENTENCES = {
    "model_sha256": "the model has changed: the engine is of the model with hash",
    "precision": "the engine was built for precision",
    "shapes": "the engine takes inputs of shapes",
    "builder": "the engine was built by",
    "builder_version": "the engine was built by version",
    "gpu": "the engine was built on GPU",
    "compute_capability": "the engine is for compute capability",
    "multiprocessors": "the engine is for a GPU whose number of multiprocessors is",
    "memory_gib": "the engine is for a GPU whose memory in GiB is",
    "pinned": "the engine keeps in FP32",
    "package_version": "the engine was made by asymformer_ros",
}


def _show(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in value.items()) or "none"
    if isinstance(value, tuple):
        return f"{len(value)} layers (list {hashlib.sha256(repr(value).encode()).hexdigest()[:8]})" if value else "none"
    text = str(value)
    return (text[:12] if len(text) == 64 else text) or "none"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read piece by piece. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
