"""Where engines are kept: a folder per model, precision, builder, shape and GPU, with plan and manifest."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.disk import writing
from asymformer_ros.engine.manifest import EngineIdentity, EngineManifest, differences, file_sha256
from asymformer_ros.system.files import user_folder, write_atomically

_log = logging.getLogger(__name__)

PLAN, MANIFEST, LOCK = "engine.plan", "manifest.json", "lock"
KERNELS = "kernels.bin"
"""What TensorRT-RTX compiles when it opens the plan."""

_WAIT = 0.2  # seconds between two tries for the lock
_REMIND = 30.0  # seconds after which waiting is told again


def default_folder() -> Path:
    """$XDG_CACHE_HOME/asymformer_ros/engines, ~/.cache/... where that is not set (it must be absolute)."""
    return user_folder("XDG_CACHE_HOME", ".cache") / "engines"


@dataclass(frozen=True)
class Engine:
    """An engine on disk."""

    plan: Path
    manifest: EngineManifest


@dataclass(frozen=True)
class Stale:
    """Why what is in the cache cannot be used: a sentence for each reason. Empty where there is nothing."""

    reasons: tuple[str, ...] = ()


class EngineCache:
    """A folder of engines that several processes may use at once."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """folder: "~" may stand for the user's; the default one for None and ""."""
        self.folder = Path(os.path.expanduser(folder)) if folder else default_folder()

    def slot(self, identity: EngineIdentity) -> Path:
        """The folder of an engine: it stays the same when the builder's version or the package's changes.

        Engines of other image numbers, sizes and GPUs stand beside it, and do not push each other out.
        """
        shape = "x".join(map(str, next(iter(identity.shapes.values()), ())))
        gpu = f"{identity.gpu}-{identity.multiprocessors}sm" if identity.gpu else "no-gpu"
        return self.folder / "-".join(filter(None, (_first_layout(identity), shape, _file_name(gpu))))

    def find(self, identity: EngineIdentity, *, verified: bool = True) -> Engine | Stale:
        """The engine that is exactly what is wanted and undamaged; verified: and that has passed its verification."""
        slot = self.slot(identity)
        if not (slot / MANIFEST).is_file():
            old = self.folder / _first_layout(identity)
            there = (old / MANIFEST).is_file()
            return Stale((f"{old} is of an older layout and can be deleted",) if there else ())
        return _examine(slot, lambda _: identity, verified=verified)

    def survey(
        self, here: Callable[[EngineIdentity], EngineIdentity] = lambda own: own
    ) -> Iterator[tuple[str, Engine | Stale]]:
        """The name of each slot with its engine, or why that cannot be used.

        here: from an engine's identity to the one that it would need on this computer; by default its own.
        """
        for manifest in sorted(self.folder.glob(f"*/{MANIFEST}")):
            yield manifest.parent.name, _examine(manifest.parent, here)

    @contextmanager
    def locked(self, identity: EngineIdentity, context: BuildContext) -> Iterator[Path]:
        """The slot's folder, for this process alone. Waits, and says so, while another one has it.

        Raises ConfigurationError where the cache cannot be written, BackendError where the build is cancelled.
        """
        slot = self.slot(identity)
        with writable(slot):
            file = (slot / LOCK).open("w")
        with file:
            with writable(slot):  # a network's file system may have no locks
                _acquire(file.fileno(), slot, context)
            yield slot

    def store(self, slot: Path, plan: Path, manifest: EngineManifest) -> Engine:
        """Put a built plan, a file in the slot, in place; only while the slot is locked.

        The old manifest goes first and the new one comes last: an interruption leaves no engine, never a mixed one.
        """
        with writable(slot):
            (slot / MANIFEST).unlink(missing_ok=True)
            os.replace(plan, slot / PLAN)
            write_atomically(slot / MANIFEST, manifest.to_json().encode())
        return Engine(slot / PLAN, manifest)


@contextmanager
def writable(folder: Path) -> Iterator[Path]:
    """Make a folder for writing in; any failure to write names it and what to change."""
    remedy = "make room there, or choose another folder with the parameter `engine_cache` or the option `--cache`"
    with writing("the engine cache", folder, remedy):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def sweep(slot: Path) -> None:
    """Remove what killed builds and engines before left; only while the slot is locked."""
    (slot / KERNELS).unlink(missing_ok=True)
    for leftover in slot.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


@contextmanager
def temporary_plan(slot: Path) -> Iterator[Path]:
    """A file to build in, which is gone afterwards unless it was stored; `sweep` finds what a killed process left."""
    plan = slot / f".engine.{os.getpid()}.tmp"
    try:
        yield plan
    finally:
        plan.unlink(missing_ok=True)


def _examine(slot: Path, here: Callable[[EngineIdentity], EngineIdentity], *, verified: bool = True) -> Engine | Stale:
    try:
        manifest = EngineManifest.from_json((slot / MANIFEST).read_text())
        damage = _damage(slot / PLAN, manifest)
    except (OSError, ValueError) as error:
        return Stale((f"its manifest cannot be read: {error}",))
    reasons = (*differences(here(manifest.identity), manifest.identity), *damage)
    if verified and (manifest.verification is None or not manifest.verification.passed):
        reasons = (*reasons, "the engine was never verified: it was built without a GPU to run it on")
    return Stale(reasons) if reasons else Engine(slot / PLAN, manifest)


def _damage(plan: Path, manifest: EngineManifest) -> tuple[str, ...]:
    if not plan.is_file():
        return ("its plan is missing",)
    size = plan.stat().st_size
    if size != manifest.plan_bytes:
        return (f"its plan has {size} bytes instead of {manifest.plan_bytes}",)
    if file_sha256(plan) != manifest.plan_sha256:
        return ("its plan is damaged: the hash is another one",)
    return ()


def _first_layout(identity: EngineIdentity) -> str:
    """Name of the folder before shape and GPU came into it."""
    name = _file_name(identity.model_name) or "model"
    return f"{name}-{identity.model_sha256[:12]}-{identity.precision}-{identity.builder}"


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip(".")


def _acquire(descriptor: int, slot: Path, context: BuildContext) -> None:
    start, told = monotonic(), -_REMIND
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = monotonic() - start
        if waited - told >= _REMIND:
            told = waited
            _log.info("another process builds %s: waiting for it (%.0f s)", slot.name, waited)
        context.check()
        context.wait(_WAIT)
