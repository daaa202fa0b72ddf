"""A signal in every state of the lifecycle, to the process or to its group; and a start after a node was killed.

`ALL_SIGNALS=FILE pytest test/test_faults_signals.py` tries each signal in each state and writes a table, in minutes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("onnxruntime", reason="a small ONNX file is served")
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_session import Session
from ros_harness import Peer, RosProcess, wait_until
from test_onnxruntime import foreign_file

from asymformer_ros.optional import installed

pytestmark = pytest.mark.ros
CONFIGURE, ACTIVATE, DEACTIVATE = (
    getattr(Transition, f"TRANSITION_{name}") for name in ("CONFIGURE", "ACTIVATE", "DEACTIVATE")
)
TRANSITIONS = {
    "unconfigured": (),
    "inactive": (CONFIGURE,),
    "active": (CONFIGURE, ACTIVATE),
    "deactivating": (CONFIGURE, ACTIVATE),
    "inactive again": (CONFIGURE, ACTIVATE, DEACTIVATE),
    "finalized": (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,),
}
"""What a lifecycle manager asks for, of nodes that do not start by themselves."""

TOLD = {
    "importing": "starts",
    "loading": "loading",
    "configuring": "loading",
    "building": "building .* with tensorrt_rtx",
}
"""What nodes in other states say when they are in them."""

STATES = ("importing", "loading", "configuring", "building", *TRANSITIONS)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
Case = tuple[str, signal.Signals, str]
SOME: list[Case] = [
    ("importing", signal.SIGTERM, "group"),
    ("loading", signal.SIGHUP, "group"),
    ("configuring", signal.SIGINT, "process"),
    ("building", signal.SIGTERM, "process"),
    ("unconfigured", signal.SIGHUP, "process"),
    ("inactive", signal.SIGTERM, "process"),
    ("active", signal.SIGHUP, "group"),
    ("active", signal.SIGKILL, "process"),
    ("deactivating", signal.SIGINT, "group"),
    ("inactive again", signal.SIGINT, "process"),
    ("finalized", signal.SIGTERM, "group"),
]
TABLE = os.environ.get("ALL_SIGNALS", "")
CASES: list[Case] = list(product(STATES, SIGNALS, ("process", "group"))) if TABLE else SOME
BATCH = 8 if TABLE else len(SOME)


@dataclass
class Node:
    """A node of one case, with folders and a namespace of its own."""

    case: Case
    number: int
    peer: Peer
    domain: int
    model: Path
    folder: Path

    def __post_init__(self) -> None:
        self.prefix = f"/case_{self.number}"
        for name in ("tmp", "cache", "home"):
            (self.folder / name).mkdir()
        if self.case[0] not in ("importing", "building"):  # they begin when it is their turn
            self.start()

    def start(self) -> None:
        """Start the process."""
        state = self.case[0]
        served = (
            ("backend:=auto", "model:=demo")
            if state == "building"
            else ("backend:=onnxruntime", f"model:={self.model}")
        )
        autostart = f"autostart:={str(state in ('importing', 'loading', 'building')).lower()}"
        environment = {
            "STATE": state,
            "CASE": str(self.folder),
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            parameters = [part for value in (*served, autostart) for part in ("-p", value)]
            self.process = RosProcess("node_in_a_state", "-r", f"__ns:={self.prefix}", *parameters, domain=self.domain)

    def reach(self) -> None:
        """Bring it into its state."""
        state = self.case[0]
        if not hasattr(self, "process"):
            self.start()
        if state in TOLD:
            if state == "configuring":
                self._change(CONFIGURE, wait=False)
            self.process.wait_for(TOLD[state])
            if state == "building":
                wait_until(lambda: len(self.alive()) > 1, "a child that builds")
            time.sleep(0.2)
            return
        wait_until(self._is_there, "the node")
        for transition in TRANSITIONS[state]:
            self._change(transition)
        if state in ("active", "deactivating"):
            session = Session(self.peer, self.process, self.prefix).listen("labels").connected()
            session.exchange()
        if state == "deactivating":
            said = self.process.output.count("in hand")
            session.send()
            wait_until(lambda: self.process.output.count("in hand") > said, "a frame in hand")
            self._change(DEACTIVATE, wait=False)
            time.sleep(0.2)

    def _is_there(self) -> bool:
        self.process.require_alive()
        return bool(self.peer.node.count_services(f"{self.prefix}/segmentation_node/change_state"))

    def _change(self, transition: int, *, wait: bool = True) -> None:
        name = f"{self.prefix}/segmentation_node/change_state"
        request = ChangeState.Request(transition=Transition(id=transition))
        if wait:
            assert self.peer.call(ChangeState, name, request).success
            return
        client = self.peer.node.create_client(ChangeState, name)
        wait_until(client.service_is_ready, "the node's services")
        client.call_async(request)

    def alive(self) -> list[int]:
        """Processes with this case's mark in their environment: the node, its children and theirs."""
        mark = f"CASE={self.folder}\0".encode()
        return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if mark in _read(folder / "environ")]

    def shared_memory(self) -> set[Path]:
        """DDS's files that it has mapped."""
        return _mapped(Path(f"/proc/{self.process.process.pid}"))

    def leftovers(self) -> list[str]:
        """Files of this package that are no engine: temporary ones, half of one. ONNX Runtime keeps some of its own."""
        found = [*self.folder.glob("tmp/*asymformer*/**/*"), *self.folder.glob("cache/asymformer_ros/**/*")]
        return [file.name for file in found if file.is_file() and file.name != "lock"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _mapped(process: Path) -> set[Path]:
    lines = _read(process / "maps").decode(errors="replace").splitlines()
    return {Path(line.split()[5]) for line in lines if "/dev/shm/fastrtps" in line}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_file(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def node_of(model: Path, tmp_path_factory: pytest.TempPathFactory, start_peer: Any) -> Iterator[Callable[[int], Node]]:
    """Gives the node of a case; those of a batch are started together."""
    batch: dict[int, Node] = {}

    def end() -> None:
        for node in batch.values():
            if hasattr(node, "process"):
                node.process.kill()
        batch.clear()

    def get(number: int) -> Node:
        if number not in batch:
            end()
            peer, domain = start_peer()
            for one in range(number, min(number + BATCH, len(CASES))):
                batch[one] = Node(CASES[one], one, peer, domain, model, tmp_path_factory.mktemp("case"))
        return batch[number]

    yield get
    end()


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, ...]]]:
    """Rows of what came of each case; written where ALL_SIGNALS says."""
    rows: list[tuple[str, ...]] = []
    yield rows
    if TABLE:
        head = (
            "state",
            "signal",
            "to the",
            "exit code",
            "lines",
            "processes left",
            "files left",
            "shared memory left",
            "seconds",
        )
        lines = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
        Path(TABLE).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=["-".join((state, name.name, receiver)) for state, name, receiver in CASES]
)
def test_a_signal_ends_the_node_and_leaves_nothing(
    number: int, node_of: Callable[[int], Node], table: list[tuple[str, ...]]
) -> None:
    node = node_of(number)
    state, name, receiver = node.case
    if state == "building" and not installed("tensorrt_rtx"):
        pytest.skip("tensorrt_rtx is not installed")
    node.reach()
    said, shared, start = len(node.process.output.splitlines()), node.shared_memory(), time.monotonic()
    code = node.process.stop(name, group=receiver == "group")
    seconds = time.monotonic() - start
    lines = node.process.output.splitlines()[said:]
    end = time.monotonic() + 5
    while node.alive() and time.monotonic() < end:
        time.sleep(0.05)
    others = set().union(*map(_mapped, Path("/proc").glob("[0-9]*")))
    left = [file for file in shared - others if file.exists()]
    figures = (len(lines), len(node.alive()), len(node.leftovers()), len(left))
    table.append((state, name.name, receiver, str(code), *map(str, figures), f"{seconds:.1f}"))
    assert "Traceback" not in node.process.output
    assert node.alive() == []
    assert len(lines) <= 1, lines
    if name == signal.SIGKILL:
        assert code == -name
        return
    assert code == 0, node.process.output
    assert node.leftovers() == []
    assert left == []


def test_a_node_that_is_killed_can_be_started_again_at_once(start_peer: Any, start_node: Any, model: Path) -> None:
    peer, domain = start_peer()
    for _ in range(2):
        node = start_node(domain, "-p", "backend:=onnxruntime", model=str(model))
        Session(peer, node).listen("labels").connected().exchange()
        assert node.stop(signal.SIGKILL, group=True) == -signal.SIGKILL
