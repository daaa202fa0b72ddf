"""The Fast DDS profile that lets whole images through shared memory, and the package's shared files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "asymformer_ros"
PROFILE = "config/fastdds_shm.xml"
_FAST_DDS_2 = ("humble", "iron", "jazzy")  # ROS distributions whose Fast DDS reads the older variable
CHOSEN_BY_USER = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


def shared_file(name: str) -> Path:
    """A file that the package installs, e.g. "config/fastdds_shm.xml".

    Looks in the ament index, this Python environment and a source checkout. Raises FileNotFoundError.
    """
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    folders = [Path(prefix) / "share" / PACKAGE for prefix in prefixes if prefix]
    for folder in (*folders, Path(__file__).resolve().parents[2]):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{name} of {PACKAGE} is not installed")


def large_message_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable to add to a process's environment so that Fast DDS uses the profile of this package.

    Empty where the user has chosen a profile or transports. Other middleware ignores the variable.
    """
    if any(environment.get(name) for name in CHOSEN_BY_USER):
        return {}
    version_2 = environment.get("ROS_DISTRO") in _FAST_DDS_2
    variable = "FASTRTPS_DEFAULT_PROFILES_FILE" if version_2 else "FASTDDS_DEFAULT_PROFILES_FILE"
    return {variable: str(shared_file(PROFILE))}
