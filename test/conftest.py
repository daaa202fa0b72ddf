"""What all tests use: the markers' conditions, the shared data, an ament index and a ROS domain of their own."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# Before rclpy is imported: another run on this machine, or a robot on this network, must not join in.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
if (Path(sys.prefix) / "share/ament_index").is_dir():
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why."""
    if any(item.get_closest_marker("gpu") for item in items) and not _has_gpu():
        _skip(items, "gpu", "needs an NVIDIA GPU that PyTorch can use")
    if importlib.util.find_spec("rclpy") is None:
        _skip(items, "ros", "needs ROS 2: rclpy is not installed")


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that is too large, or not ours, to be in the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data folder {SHARED.name}/ beside the repository")
    return SHARED
