"""The files of a model that a node serves: what was configured is in memory; the classes may come from a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
from node_session import OUTPUTS, Session
from test_onnxruntime import foreign_file

from asymformer_ros.models.labels import LabelSet

pytestmark = pytest.mark.ros
DEMO = ROOT / "asymformer_ros/models/weights/demo.onnx"


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_onnx_file_that_changes_while_it_is_served_changes_nothing(
    change: str, tmp_path: Path, start_peer: Any, start_node: Any
) -> None:
    """The confidence map, which only the summary needs here, is first asked for after the change."""
    file = tmp_path / "mine.onnx"
    shutil.copy(DEMO, file)
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, model=str(file))).listen("labels").connected()
    before = session.exchange()
    if change == "replaced":
        foreign_file(tmp_path / "other.onnx").replace(file)
    else:
        file.unlink()
    session.received["summary"] = peer.listen(OUTPUTS["summary"], "/segmentation/summary")
    summary = session.exchange("summary")
    assert summary.model == "demo"
    assert all(0 < entry.mean_confidence <= 1 for entry in summary.classes)
    np.testing.assert_array_equal(session.exchange().data, before.data)
    assert "frame failed" not in session.node.output
    assert session.node.stop() == 0


def test_an_own_onnx_file_with_own_classes_is_served_with_a_label_set(
    tmp_path: Path, start_peer: Any, start_node: Any
) -> None:
    names = ["floor", "shelf", "robot", "person", "door"]
    labels = LabelSet("hall", tuple(names), tuple((40 * index, 0, 0) for index in range(5)))
    (tmp_path / "hall.json").write_text(json.dumps(labels.to_json()))
    file = foreign_file(tmp_path / "own.onnx", classes=5)
    peer, domain = start_peer()
    node = start_node(domain, "-p", f"label_set:={tmp_path / 'hall.json'}", model=str(file))
    session = Session(peer, node).listen("summary").connected()
    summary = session.exchange("summary")
    assert {entry.name for entry in summary.classes} <= set(names)
    assert all(names[entry.id] == entry.name for entry in summary.classes)
    assert node.stop() == 0
