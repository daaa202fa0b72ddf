"""What all tests use: the markers' conditions, recordings, an ament index and a ROS domain of their own."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = ROOT.parent / "shared" / "data"
"""Recordings and label files of others, which may be tested with here and not passed on."""

# Before rclpy is imported: another run on this machine, or a robot on this network, must not join in. Workers of
# pytest-xdist have inherited the domain of the process that started them; PyTorch's threads of two would wait for each
# other's, spinning.
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if "ROS_DOMAIN_ID" not in os.environ or _IS_WORKER:
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
if _IS_WORKER:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that runs the tests in the background has these ignored, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
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


def not_ours(name: str) -> Path:
    """A folder of others' data; skips the test where it is not beside the repository."""
    if not (NOT_OURS / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}, which is not ours to pass on")
    return NOT_OURS / name


@pytest.fixture(scope="session")
def rendered() -> Path:
    """A recording of four frames, 640x480: the package's own."""
    (folder,) = (ROOT / "asymformer_ros").rglob("golden_frames")
    return folder


@pytest.fixture(scope="session")
def kitchen() -> Path:
    """A recording of 90 frames of a real camera, 640x480."""
    return not_ours("kitchen_sequence")


@pytest.fixture(scope="session", params=["rendered", "kitchen"])
def recording(request: pytest.FixtureRequest) -> Path:
    """One recording after the other."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.fixture(scope="session")
def odd_pairs() -> Path:
    """Single pairs of cameras and data sets whose depth is stored in other ways."""
    return not_ours("odd_pairs")


@pytest.fixture(scope="session")
def nyuv2_labels() -> Path:
    """Label maps of NYUv2, its class names and its split, as its authors publish them."""
    return not_ours("nyuv2_labels")


@pytest.fixture(scope="module")
def start_peer() -> Iterator[Callable[[], Any]]:
    """Starts a Peer in a ROS domain of its own: call it for (peer, domain)."""
    from ros_harness import Peer, free_domain

    peers: list[Peer] = []

    def start() -> tuple[Peer, int]:
        domain = free_domain()
        peers.append(Peer(domain))
        return peers[-1], domain

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture(scope="module")
def start_node() -> Iterator[Callable[..., Any]]:
    """Starts a segmentation node as a RosProcess: call it with a domain and ROS arguments."""
    from ros_harness import RosProcess

    nodes: list[RosProcess] = []

    def start(domain: int, *arguments: str, model: str = "untrained", module: str = "") -> RosProcess:
        chosen = ("-p", f"model:={model}") if model else ()
        nodes.append(RosProcess(module or "asymformer_ros.node.segmentation_node", *chosen, *arguments, domain=domain))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()
