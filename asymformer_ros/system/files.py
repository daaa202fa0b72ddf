"""Files that are whole or absent, and the folders of the user's own."""

from __future__ import annotations

import os
from pathlib import Path


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


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside its place, bring it to the disk, then rename it; its folder is made. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
