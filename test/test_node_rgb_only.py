"""Depth dies and comes back: a node in a process of its own goes on with colour alone, says so, and returns."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("torch", reason="the torch backend serves in these tests")
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_session import RAMP, Session
from ros_harness import header, stamps, wait_until

from asymformer_ros.node.conversions import frame_from_messages, image_message

pytestmark = pytest.mark.ros
ALONE = r"no depth for \d+\.\d s: segmenting colour alone"


def test_colour_without_depth_makes_a_frame_whose_depth_is_nowhere_known() -> None:
    frame = frame_from_messages(image_message(RAMP, "rgb8", header(1)), None)
    assert frame.depth.shape == RAMP.shape[:2]
    assert np.isnan(frame.depth).all()


@pytest.fixture
def session(request: pytest.FixtureRequest, start_peer: Any, start_node: Any) -> Session:
    """A node that has segmented pairs, and whose depth has died; it may, or may not, go on alone."""
    peer, domain = start_peer()
    allowed = ("-p", "allow_rgb_only:=true", "-p", "depth_timeout:=0.5") if request.param else ()
    session = Session(peer, start_node(domain, *allowed)).listen("labels", "summary").connected()
    session.exchange()
    return session


def colour_alone(session: Session) -> int:
    stamp = session.peer.node.get_clock().now().nanoseconds
    session.rgb.publish(image_message(RAMP, "rgb8", header(stamp)))
    time.sleep(0.1)
    return stamp


def served(session: Session, sent: set[int]) -> list[Any]:
    """The summaries of these frames, once one has come."""
    found: list[Any] = []

    def there() -> bool:
        found[:] = [one for one in session.received["summary"] if stamps([one])[0] in sent]
        return bool(found)

    wait_until(there, "a summary")
    return found


def status(session: Session, pattern: str, send: Any) -> DiagnosticStatus:
    """The first status whose message matches, while something is sent."""
    heard = session.peer.listen(DiagnosticArray, "/diagnostics")
    found: list[DiagnosticStatus] = []

    def matches() -> bool:
        send()
        found.extend(one for array in heard for one in array.status if re.search(pattern, one.message))
        return bool(found)

    wait_until(matches, f"a status like '{pattern}'; the node said:\n{session.node.output}")
    return found[-1]


@pytest.mark.parametrize("session", [True], indirect=True, ids=["allowed"])
def test_colour_is_segmented_alone_while_depth_is_away_and_with_depth_when_it_is_back(session: Session) -> None:
    sent: set[int] = set()
    degraded = status(session, ALONE, lambda: sent.add(colour_alone(session)))
    wait_until(lambda: sent & set(stamps(session.received["labels"])), "labels of colour alone")
    assert {summary.rgb_only for summary in served(session, sent)} == {True}
    assert degraded.level == DiagnosticStatus.WARN
    assert int({pair.key: pair.value for pair in degraded.values}["frames of colour alone"]) > 0
    wait_until(lambda: not session.exchange("summary").rgb_only, "a frame with depth")  # the first may go alone
    back = status(session, "^segmenting$", lambda: session.send() and time.sleep(0.1))
    assert back.level == DiagnosticStatus.OK
    assert len(re.findall(ALONE, session.node.output)) == 1
    assert session.node.output.count("depth comes again: segmenting colour and depth") == 1


@pytest.mark.parametrize("session", [False], indirect=True, ids=["default"])
def test_nothing_is_segmented_alone_unless_it_is_allowed(session: Session) -> None:
    sent = {colour_alone(session) for _ in range(20)}
    session.exchange()
    assert not sent & set(stamps(session.received["labels"]))
    assert not re.search(ALONE, session.node.output)
