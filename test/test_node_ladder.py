"""`input_size: auto` of a node that runs as a process of its own, over real DDS."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("torch", reason="makes other sizes of a model")
from diagnostic_msgs.msg import DiagnosticArray
from node_session import RAMP, Session
from ros_harness import wait_until
from std_srvs.srv import Trigger

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import BackendError
from asymformer_ros.inference.ladder import Choice
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.labels import label_set
from asymformer_ros.network import SMALL
from asymformer_ros.node import serving
from asymformer_ros.node.serving import Opened, Serving

pytestmark = pytest.mark.ros
AUTO = ("-p", "input_size:=auto", "-p", "device:=cpu")
TORCH = ("-p", "backend:=torch")
"""Serves any size without an export."""


def facts(session: Session) -> dict[str, str]:
    """Of the next status that comes."""
    statuses = session.peer.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: statuses, "diagnostics")
    return {value.key: value.value for value in statuses[-1].status[0].values}


@pytest.mark.parametrize(("rate", "size", "backend"), [("0.01", "256x320", ()), ("1000.0", "128x160", TORCH)])
def test_a_low_rate_takes_the_largest_size_and_an_impossible_one_the_smallest_and_says_so(
    start_peer: Any, start_node: Any, rate: str, size: str, backend: tuple[str, ...]
) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, *AUTO, *backend, "-p", f"target_rate:={rate}", model="demo"))
    labels = session.listen("labels").connected().exchange("labels")
    assert (labels.height, labels.width) == RAMP.shape[:2], "labels have the camera's size, whatever the network's is"
    told = facts(session)
    assert told["input size"].startswith(f"{size} (height x width; of 256x320, ")
    assert f"input size {told['input size']}" in session.node.output
    assert ("which none keeps" in told.get("fallback", "")) == (size == "128x160")


def test_a_network_that_falls_behind_is_followed_by_a_smaller_one_between_two_frames(
    start_peer: Any, start_node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ModelBundle.untrained(SMALL, label_set("nyuv2_40"))
    card = ModelCard("two", made.card.label_set, made.card.normalization, (128, 160), input_sizes=((64, 96),))
    ModelBundle(card, made.network).save(tmp_path / "two.safetensors")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peer, domain = start_peer()
    chosen = (*AUTO, *TORCH, "-p", "target_rate:=1000.0")
    node = start_node(domain, *chosen, model=str(tmp_path / "two.safetensors"), module="node_that_falls_behind")
    session = Session(peer, node).listen("labels").connected()
    assert facts(session)["input size"].startswith("128x160 (height x width; of 128x160, 64x96)")
    none_left = "and no smaller input size is left"
    wait_until(lambda: session.exchange("labels") and none_left in node.output, none_left)
    assert re.search(r"fewer than 1000 labels .* model 'two' .*input 64x96, height x width.* serves now", node.output)
    assert node.output.count("serves now") == 1, "there is none below the smallest"
    told = facts(session)
    assert told["input size"].startswith("64x96 (height x width; of 64x96)")
    assert none_left in told["fallback"]
    assert session.peer.call(Trigger, "/segmentation_node/reload_model", Trigger.Request()).success
    assert none_left not in facts(session).get("fallback", ""), "it was said of what served before"
    assert "Traceback" not in node.output, node.output
    assert node.stop() == 0


def test_a_smaller_size_that_could_not_take_over_is_told_apart_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BackendError("out of memory")

    monkeypatch.setattr(serving, "open_model", refuse)
    sizes = ((128, 160), (64, 96))
    chosen = {size: Serving(Opened(MagicMock(), Choice(size, sizes[0], sizes, {size: 1.0}, 10.0))) for size in sizes}
    assert chosen[64, 96].why_no_smaller == "no smaller input size is left"
    with pytest.raises(BackendError, match="out of memory"):
        chosen[128, 160].step_down(MagicMock(), BuildContext(), lambda _: None)
    assert not chosen[128, 160].can_step_down
    assert chosen[128, 160].why_no_smaller == "no smaller input size could take over"
