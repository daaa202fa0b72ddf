"""Files that are whole or absent, and the folders of the user's own."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any


def user_folder(variable: str, beneath_home: str) -> Path:
    """This package's folder beneath $VARIABLE, or beneath ~/BENEATH_HOME where that is not set to an absolute path.

    A user who has no home has /nonexistent, as on Debian: what is written there names the folder in its error.
    """
    base = Path(os.environ.get(variable, ""))
    if not base.is_absolute():
        try:
            base = Path.home() / beneath_home
        except RuntimeError:  # neither HOME nor an entry among the users, as in some containers
            base = Path("/nonexistent") / beneath_home
    return base / "asymformer_ros"


def parse_json(text: str) -> Any:
    """json.loads; its ValueError stands also for what is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_object(text: str) -> dict[str, Any]:
    """As `parse_json`; its ValueError stands also for what is no object."""
    parsed = parse_json(text)
    if not isinstance(parsed, dict):
        raise ValueError(f"expected an object, found a {type(parsed).__name__}")
    return parsed


def write_atomically(
    path: Path, content: bytes | memoryview, *, to_disk: bool = True, staging: Path | None = None
) -> None:
    """Write a file beside its place, bring it to the disk, then rename it; its folder is made. Raises OSError.

    to_disk: False leaves that to the system: much faster for many files, but a power cut may leave an empty one.
    staging: folder of the same file system, made here, to write it in: what is killed while it writes leaves it there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if staging is not None:
        staging.mkdir(parents=True, exist_ok=True)
    beside = _beside(path if staging is None else staging / path.name)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            if to_disk:
                os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_folder_atomically(path: Path, contents: Mapping[str, bytes]) -> Path:
    """Write files, by their names in it, into a new folder, which is there with all of them or not at all.

    Where the path is taken, "-2", "-3" ... is added. Returns the folder's path. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        for name, content in contents.items():
            write_atomically(beside / name, content)
        return _moved(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Where to write what will be there, alone: processes of several containers may have one number."""
    return path.with_name(f".{path.name}.{os.getpid()}{os.urandom(4).hex()}.tmp")


def _moved(folder: Path, path: Path) -> Path:
    for number in count(1):
        target = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            os.rename(folder, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # as where the path is taken
                raise
        else:
            return target
    raise AssertionError("count() has no end")
