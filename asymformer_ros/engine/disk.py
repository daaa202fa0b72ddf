"""Failures to write, told with the folder, what is free there, and what to change."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asymformer_ros.errors import ConfigurationError

_PREFIX, _LOCK = "asymformer_engine_", "lock"


class StorageError(ConfigurationError):
    """A folder cannot be written: another precision would fail, too."""


@contextmanager
def writing(what: str, folder: Path, remedy: str) -> Iterator[None]:
    """Write to a folder in this block. Raises StorageError where that fails. what: the sentence's subject."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{what} {folder} cannot be written ({error.strerror or error}{_free(folder)}): {remedy}"
        ) from error


@contextmanager
def writing_temporarily() -> Iterator[None]:
    """Write to the folder for temporary files in this block. Raises StorageError where that fails."""
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:  # which means that none of the usual folders can be written
        raise StorageError(f"no folder for temporary files can be written: set TMPDIR to one ({error})") from error
    with writing(
        "the folder for temporary files",
        folder,
        "make room there, or set TMPDIR to another folder; a build needs about four times the model's size",
    ):
        yield


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for this block alone; those of processes that were killed go first. Raises StorageError."""
    with writing_temporarily():
        _sweep(Path(tempfile.gettempdir()))
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        lock = (Path(folder.name) / _LOCK).open("w")
    with folder as name, lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def _sweep(folder: Path) -> None:
    """Remove temporary folders whose lock nobody holds; a folder without one is just being made."""
    for lock in folder.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # in use, another user's, or gone
            continue


def _free(folder: Path) -> str:
    try:
        return f", {shutil.disk_usage(folder).free / 1e6:.0f} MB are free"
    except OSError:
        return ""
