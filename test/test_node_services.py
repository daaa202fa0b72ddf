"""Groups, legend and services of a node that runs as a process of its own, over real DDS."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")
pytest.importorskip("onnxruntime", reason="the onnxruntime backend serves in these tests")
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_session import MILLIMETRES, RAMP, Session
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import stamps, wait_until
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from asymformer_ros.frames.images import read_depth, read_labels, read_rgb
from asymformer_ros.inference.segmenter import load
from asymformer_ros.models.catalogue import model_files

pytestmark = pytest.mark.ros
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
GROUPS = "ground: [floor, floor_mat]\nupright: [wall, door, cabinet, window]\nrest: things\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and groups that tests may spoil."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(model_files("demo").onnx, folder / "model.onnx")
    (folder / "robot.yaml").write_text(GROUPS)
    return folder


@pytest.fixture(scope="module")
def session(start_peer: Any, start_node: Any, place: Path) -> Session:
    peer, domain = start_peer()
    node = start_node(
        domain,
        *("-p", f"label_groups:={place}/robot.yaml", "-p", f"snapshot_folder:={place}/shots"),
        *("-p", "backend:=onnxruntime"),
        model=str(place / "model.onnx"),
    )
    return Session(peer, node).listen().connected()


def call(session: Session, name: str) -> Trigger.Response:
    return session.peer.call(Trigger, f"/segmentation_node/{name}", Trigger.Request())


def change_state(session: Session, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(session.peer.call(ChangeState, "/segmentation_node/change_state", request).success)


def call_while_frames_come(session: Session, name: str) -> Trigger.Response:
    """The answer; frames are sent until it comes."""
    answers: list[Trigger.Response] = []
    caller = threading.Thread(target=lambda: answers.append(call(session, name)))
    caller.start()
    while caller.is_alive():
        session.send()
        caller.join(0.1)
    return answers[0]


def test_every_output_knows_the_groups_and_nothing_else(session: Session, place: Path) -> None:
    answer = session.exchange_all()
    with load("demo", device="cpu") as segmenter:
        plain = segmenter(RAMP, MILLIMETRES)
    names = [plain.label_set.names[label] for label in plain.labels.ravel()]
    home = dict.fromkeys(("floor", "floor_mat"), 0) | dict.fromkeys(("wall", "door", "cabinet", "window"), 1)
    expected = np.array([home.get(name, 2) for name in names], np.uint8)
    labels = np.array(answer["labels"].data, np.uint8)
    assert np.mean(labels == expected) > 0.999
    assert {(one.id, one.name) for one in answer["summary"].classes} == {
        (label, ("ground", "upright", "things")[label]) for label in np.unique(labels)
    }
    points = np.frombuffer(answer["points"].data, "<u4").reshape(-1, 6)
    np.testing.assert_array_equal(points[:, 4], labels)
    color = np.array(answer["color"].data, np.uint8).reshape(-1, 3)
    lenders = [plain.label_set.colors[plain.label_set.names.index(name)] for name in ("floor", "wall")]
    for label, lender in enumerate(lenders):
        assert {tuple(pixel) for pixel in color[labels == label].tolist()} <= {lender}


def test_the_legend_is_there_for_whoever_comes_later(session: Session) -> None:
    received = session.peer.listen(Image, "/segmentation/legend", LATCHED)
    wait_until(lambda: received, "the legend")
    legend = np.array(received[0].data, np.uint8).reshape(received[0].height, received[0].width, 3)
    seen = {tuple(color) for color in legend.reshape(-1, 3).tolist()}
    with load("demo", device="cpu") as segmenter:
        classes = segmenter.label_set
    assert {classes.colors[classes.names.index(name)] for name in ("floor", "wall")} <= seen


def test_a_snapshot_holds_the_next_frame_and_all_that_was_made_of_it(session: Session, place: Path) -> None:
    session.exchange()
    answer = call_while_frames_come(session, "save_snapshot")
    assert answer.success, answer.message
    folder = Path(answer.message)
    assert folder.parent == place / "shots"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half-written lies beside it"
    assert sorted(os.listdir(folder)) == ["depth.png", "labels.png", "meta.json", "overlay.png", "rgb.png"]
    np.testing.assert_array_equal(read_rgb(folder / "rgb.png"), RAMP)
    np.testing.assert_array_equal(read_depth(folder / "depth.png"), MILLIMETRES)
    meta = json.loads((folder / "meta.json").read_text())
    stamp = meta["stamp"]["sec"] * 10**9 + meta["stamp"]["nanosec"]
    assert stamp in session.sent
    assert folder.name == f"snapshot-{stamp // 10**9}.{stamp % 10**9:09d}"
    wait_until(lambda: stamp in stamps(session.received["labels"]), "the same frame on its topic")
    published = session.received["labels"][stamps(session.received["labels"]).index(stamp)]
    assert read_labels(folder / "labels.png").tobytes() == bytes(published.data)
    assert meta["class_names"] == ["ground", "upright", "things"]
    assert (meta["frame_id"], meta["camera_info"]["k"]) == ("camera_color_optical_frame", [5.0] * 9)
    assert cv2.imread(str(folder / "overlay.png")).shape[0] > RAMP.shape[0], "it has a legend"


def test_a_snapshot_without_frames_says_so_and_leaves_nothing(session: Session, place: Path) -> None:
    answer = Trigger.Response(success=True)
    while answer.success:  # a frame of the tests before may still be on its way
        before = sorted(os.listdir(place / "shots"))
        answer = call(session, "save_snapshot")
    assert (answer.success, answer.message) == (False, "no frame was segmented within 5 s: /diagnostics says why")
    assert sorted(os.listdir(place / "shots")) == before


def test_a_snapshot_that_cannot_be_written_says_where_and_why(session: Session, place: Path) -> None:
    (place / "a_file").touch()
    assert session.set_parameter("snapshot_folder", f"{place}/a_file").successful
    try:
        answer = call_while_frames_come(session, "save_snapshot")
    finally:
        session.set_parameter("snapshot_folder", f"{place}/shots")
    assert not answer.success
    assert re.search(f"cannot write a snapshot: .*{place}/a_file", answer.message)
    session.exchange()


def test_set_enabled_is_the_parameter(session: Session) -> None:
    name = "/segmentation_node/set_enabled"
    try:
        assert session.peer.call(SetBool, name, SetBool.Request(data=False)).success
        answer = call(session, "save_snapshot")
        assert not answer.success
        assert "enabled is false" in answer.message
    finally:
        assert session.peer.call(SetBool, name, SetBool.Request(data=True)).success
    session.exchange()


def test_a_broken_model_or_groups_leave_the_old_ones_serving_and_the_reply_says_why(
    session: Session, place: Path
) -> None:
    before = bytes(session.exchange().data)
    for name, content, told in (
        ("model.onnx", b"no model", "model.onnx"),
        ("robot.yaml", b"ground: [flor]\nrest: things", "'flor', which .* does not have: the nearest there is 'floor'"),
    ):
        kept = (place / name).read_bytes()
        (place / name).write_bytes(content)
        answer = call_while_frames_come(session, "reload_model")
        (place / name).write_bytes(kept)
        assert not answer.success
        assert re.search(told, answer.message)
        assert bytes(session.exchange().data) == before
    assert "Traceback" not in session.node.output, session.node.output


def test_a_new_model_takes_over_without_losing_a_frame_and_tells_its_classes(session: Session, place: Path) -> None:
    legends = session.peer.listen(Image, "/segmentation/legend", LATCHED)
    wait_until(lambda: len(legends) == 1, "the legend of the old classes")
    (place / "robot.yaml").write_text("all: [wall]\nrest: all\n")
    before = len(session.sent)
    answer = call_while_frames_come(session, "reload_model")
    sent = session.sent[before:]
    assert answer.success, answer.message
    assert "(robot, input " in answer.message
    assert set(session.exchange("labels").data) == {0}
    wait_until(lambda: len(legends) == 2, "the legend of the new classes")
    served = [stamp for stamp in sent if stamp in stamps(session.received["labels"])]
    assert served, "frames were segmented while the new model was opened"


def test_services_answer_in_every_state(start_peer: Any, start_node: Any) -> None:
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, "-p", "autostart:=false", "-p", "backend:=onnxruntime", model="demo"))
    assert call(session, "save_snapshot").message.startswith("no frame is segmented: the node is not active")
    assert call(session, "reload_model").message.startswith("no model is loaded that another could replace")
    assert change_state(session, Transition.TRANSITION_CONFIGURE)
    answer = call(session, "reload_model")
    assert answer.success, answer.message
    assert session.node.stop() == 0


def test_a_signal_ends_a_node_that_takes_a_new_model(
    start_peer: Any, start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peer, domain = start_peer()
    node = start_node(domain, model="demo", module="node_with_a_slow_second_model")
    session = Session(peer, node).listen("labels").connected()
    session.exchange("labels")
    client = peer.node.create_client(Trigger, "/segmentation_node/reload_model")
    assert client.wait_for_service(60)
    client.call_async(Trigger.Request())
    node.wait_for("loading")
    session.exchange("labels")
    assert node.stop() == 0
    assert "Traceback" not in node.output, node.output


def test_a_model_that_is_taken_is_given_up_where_the_node_is_cleaned_up(
    start_peer: Any, start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    peer, domain = start_peer()
    session = Session(peer, start_node(domain, model="demo", module="node_with_a_slow_second_model")).connected()
    client = peer.node.create_client(Trigger, "/segmentation_node/reload_model")
    assert client.wait_for_service(60)
    answer = client.call_async(Trigger.Request())
    session.node.wait_for("loading")
    assert change_state(session, Transition.TRANSITION_DEACTIVATE)
    assert change_state(session, Transition.TRANSITION_CLEANUP)
    wait_until(answer.done, "the end of what nobody wants any more")
    assert (answer.result().success, answer.result().message) == (False, "the engine build was cancelled")


def test_a_snapshot_of_several_cameras_has_a_folder_for_each(start_peer: Any, start_node: Any, tmp_path: Path) -> None:
    peer, domain = start_peer()
    node = start_node(
        domain,
        *("-p", "cameras:=[front, rear]", "-p", f"snapshot_folder:={tmp_path}", "-p", "backend:=onnxruntime"),
        model="demo",
    )
    front, rear = Session(peer, node, "/front").connected(), Session(peer, node, "/rear").connected()
    answers: list[Trigger.Response] = []
    caller = threading.Thread(target=lambda: answers.append(call(front, "save_snapshot")))
    caller.start()
    while caller.is_alive():
        front.send()
        rear.send()
        caller.join(0.1)
    assert answers[0].success, answers[0].message
    assert sorted(os.listdir(answers[0].message)) == ["front", "rear"]
    assert (Path(answers[0].message) / "rear" / "labels.png").is_file()
