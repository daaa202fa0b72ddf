"""The soak knows why each frame has no labels, by what the real node wrote down of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("onnxruntime", reason="a small ONNX file is served")
sys.path.append(str(ROOT / "benchmarks"))
from node_session import Session
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from ros_harness import wait_until
from soak_reasons import UNATTRIBUTED, reasons
from test_onnxruntime import foreign_file

pytestmark = pytest.mark.ros


def sent(stamp: int, at: int = 0, depth: int | None = None) -> dict[str, Any]:
    """What the soak's camera tells of a frame."""
    return {"stamp": stamp, "at": at, "colour": [stamp], "depth": [depth or stamp], "unreadable": []}


def test_the_node_writes_down_why_a_frame_has_no_labels(
    start_peer: Any, start_node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, model = tmp_path / "journal", foreign_file(tmp_path / "tiny.onnx")
    monkeypatch.setenv("SOAK_JOURNAL", str(journal))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peer, domain = start_peer()
    node = start_node(domain, "-p", "backend:=onnxruntime", model=str(model), module="soak_node")
    session = Session(peer, node).listen("labels").connected()
    session.exchange()
    served = session.received["labels"][-1].header.stamp
    refused = session.send(np.zeros((1, 1, 3), np.uint8))
    wait_until(lambda: f"refused\t{refused}\t" in journal.read_text(), "a refused frame")
    parameter = Parameter("enabled", value=False).to_parameter_msg()
    peer.call(
        SetParametersAtomically,
        "/segmentation_node/set_parameters_atomically",
        SetParametersAtomically.Request(parameters=[parameter]),
    )
    unwanted = session.send()
    wait_until(lambda: f"unwanted\t{unwanted}\t" in journal.read_text(), "an unwanted frame")
    assert node.stop() == 0
    told = reasons([sent(refused), sent(unwanted)], set(), journal, [])
    assert told.pop("unwanted: the node is disabled") == 1
    [reason] = told
    assert reason.startswith("refused: colour is #x# but depth is #x#")
    stamp = served.sec * 10**9 + served.nanosec
    assert f"published\t{stamp}\t" in journal.read_text()
    assert reasons([sent(stamp)], {stamp}, journal, []) == {}
    assert list(reasons([sent(stamp)], set(), journal, [])) == ["published, but its labels are lost"]


S = 10**9


@pytest.mark.parametrize(
    ("lines", "frame", "reason"),
    [
        ([(0, "active")], sent(5, S), "the colour image did not arrive: best effort"),
        ([(0, "active"), (2 * S, "inactive")], sent(5, 4 * S), "sent while the node was not active"),
        ([(0, "active")], sent(5, 50 * S), "the camera was killed before it was sent"),
        ([(0, "active")], {**sent(5, S), "unreadable": ["colour"]}, "the colour message cannot be read"),
        ([(0, "active")], {**sent(5, S), "depth": []}, "the camera sent no depth image"),
        ([(0, "active"), (S, "colour", 5)], sent(5, S), "the depth image did not arrive: best effort"),
        ([(0, "active"), (S, "colour", 5)], sent(5, S, 9 * S), "depth is stamped further from colour than slop"),
        (
            [(0, "active"), (S, "colour", 5), (S, "depth", 5), (S + 1, "time jumped")],
            sent(5, S),
            "time has jumped while it waited for its partner",
        ),
        (
            [(0, "active"), (S, "paired", 6), (S, "colour", 5), (S, "depth", 5)],
            sent(5, S),
            "colour or depth came after a newer pair",
        ),
        ([(0, "active"), (S, "colour", 5), (S, "depth", 5)], sent(5, S), UNATTRIBUTED),
        ([(0, "active"), (S, "colour", 5), (S, "depth", 5), (S, "paired", 5)], sent(5, S), UNATTRIBUTED),
    ],
)
def test_what_kept_a_frame_from_its_labels(
    lines: list[tuple[Any, ...]], frame: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    journal.write_text("".join(f"{when}\t{what}\t{''.join(map(str, stamp))}\t\n" for when, what, *stamp in lines))
    assert reasons([frame], set(), journal, [50 * S + 1]) == {reason: 1}
