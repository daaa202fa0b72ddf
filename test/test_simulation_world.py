"""Worlds made of seeds: rooms, drives, frames, and the data set of them."""

from __future__ import annotations

import math
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("embreex", reason="needs Embree: pip install trimesh embreex (x86_64)")

from asymformer_ros.cli.main import main
from asymformer_ros.datasets import open_data_set
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.simulation.data_set import TEST_SEEDS, RenderPlan
from asymformer_ros.simulation.floor_plan import FloorPlan, Rectangle
from asymformer_ros.simulation.live import SECONDS_IN_ROOM, LiveWorld
from asymformer_ros.simulation.world import World

ROOT = Path(__file__).parents[1]
SMALL = Intrinsics.typical(64, 48)
seeds = st.integers(0, 2_000_000)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, share=st.floats(0, 1))
def test_no_ray_leaves_the_room_and_no_pixel_is_without_a_class(seed: int, share: float) -> None:
    world = World(seed)
    view = world.view(world.drive.pose(share * world.drive.seconds), SMALL)
    assert view.depth.max() < math.hypot(world.site.plan.width, world.site.plan.depth, world.site.height) + 0.1
    assert view.labels.max() < 40
    assert np.isfinite(view.radiance).all()
    assert (view.radiance >= 0).all()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, share=st.floats(0, 1))
def test_the_robot_stays_on_free_floor_and_its_camera_is_upright(seed: int, share: float) -> None:
    world = World(seed)
    pose = world.drive.pose(share * world.drive.seconds)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert pose[2, 1] < 0, "the image's y axis points down"
    x, y, z = pose[:3, 3]
    assert 0.5 < z < 1.7
    if world.site.plan.free_grid(0.1, 0.3).any():
        assert world.site.plan.is_free(Rectangle(x, y, x, y).grown(0.15))


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_a_drive_has_no_jumps_and_ends_where_it_began(seed: int) -> None:
    drive = World(seed).drive
    poses = [drive.pose(at) for at in np.arange(0, drive.seconds + 1, 0.1)]
    for before, after in pairwise(poses):
        assert np.linalg.norm(after[:3, 3] - before[:3, 3]) < 0.12, "metres in 0.1 s"
        assert before[:3, 2] @ after[:3, 2] > math.cos(0.35), "radians in 0.1 s"
    np.testing.assert_allclose(drive.pose(0.0)[:2, 3], drive.pose(drive.seconds)[:2, 3], atol=1e-6)


@pytest.mark.parametrize("niche", [None, Rectangle(3.0, 2.5, 5.0, 4.0)])
def test_walls_go_around_the_room_and_look_inside(niche: Rectangle | None) -> None:
    plan = FloorPlan(5.0, 4.0, niche)
    walls = list(plan.walls())
    for wall, following in zip(walls, walls[1:] + walls[:1], strict=True):
        np.testing.assert_allclose(wall.point(wall.length), (following.x, following.y), atol=1e-9)
        x, y = wall.point(wall.length / 2, 0.2)
        assert plan.is_free(Rectangle(x, y, x, y))


def test_the_world_has_many_classes() -> None:
    found = {int(part.label) for seed in range(20) for part in World(seed).site.parts}
    assert len(found) >= 20


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others() -> None:
    frames = [World(seed).photograph(World(seed).drive.pose(2.0), SMALL, 5) for seed in (3, 3, 4)]
    for name in ("rgb", "depth", "labels"):
        np.testing.assert_array_equal(getattr(frames[0], name), getattr(frames[1], name))
        assert (getattr(frames[0], name) != getattr(frames[2], name)).any()


def test_a_camera_drives_through_one_room_after_the_other() -> None:
    camera = LiveWorld(SMALL, rate=2.0, seed=7)
    last, first = camera.frame(int(2 * SECONDS_IN_ROOM) - 1), camera.frame(int(2 * SECONDS_IN_ROOM))
    assert last.labels is not None
    world = World(8)
    np.testing.assert_array_equal(first.labels, world.view(world.drive.pose(0.0), SMALL).labels)
    again = LiveWorld(SMALL, rate=2.0, seed=7).frame(int(2 * SECONDS_IN_ROOM) - 1)
    np.testing.assert_array_equal(last.rgb, again.rgb)


def render(folder: Path, *options: str) -> int:
    return main(["render", str(folder), "--size", "48x64", "--frames", "5", "--test-frames", "2", *options])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "set"
    assert render(folder, "--frames-per-room", "2", "--workers", "2") == 0
    return folder


def test_a_rendered_set_is_read_as_a_data_set(rendered: Path) -> None:
    train, test = (open_data_set(rendered, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (5, 2)
    assert train.label_set.name == "nyuv2_40"
    frame = train[0]
    world = World(0)
    truth = world.view(world.drive.pose(world.drive.seconds / 4), SMALL)
    np.testing.assert_array_equal(frame.labels, truth.labels)
    known = np.isfinite(frame.frame.depth)
    assert np.median(np.abs(frame.frame.depth - truth.depth)[known]) < 0.05


def test_a_rendered_set_has_labels_from_1_depth_in_millimetres_poses_and_the_camera(rendered: Path) -> None:
    name = (rendered / "train.txt").read_text().split()[0]
    labels = cv2.imread(str(rendered / f"labels/{name}.png"), cv2.IMREAD_UNCHANGED)
    depth = cv2.imread(str(rendered / f"depths/{name}.png"), cv2.IMREAD_UNCHANGED)
    assert labels.min() >= 1
    assert depth.dtype == np.uint16
    assert 300 < np.median(depth[depth > 0]) < 8000
    np.testing.assert_allclose(
        np.loadtxt(rendered / f"poses/{name}.txt"), World(0).drive.pose(World(0).drive.seconds / 4)
    )
    np.testing.assert_allclose(np.diag(np.loadtxt(rendered / "camera-intrinsics.txt")), (SMALL.fx, SMALL.fy, 1))


def test_test_rooms_are_none_of_the_training_rooms(rendered: Path) -> None:
    rooms = {
        split: {int(name[:7]) for name in (rendered / f"{split}.txt").read_text().split()}
        for split in ("train", "test")
    }
    assert rooms == {"train": {0, 1, 2}, "test": {TEST_SEEDS}}


def test_rendering_goes_on_where_it_was_interrupted(
    rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(rendered, folder)
    for name in ("train.txt", "test.txt"):
        (folder / name).unlink()
    names = (rendered / "train.txt").read_text().split()
    (folder / f"poses/{names[2]}.txt").write_text("1 0 0")  # the process ended here
    (folder / f"images/{names[2]}.png").write_bytes(b"half")
    assert render(folder, "--frames-per-room", "2", "--workers", "1") == 0
    assert "goes on: 6 frames are there" in capsys.readouterr().err
    for path in (path for path in rendered.rglob("*") if path.is_file()):
        assert (folder / path.relative_to(rendered)).read_bytes() == path.read_bytes(), path


def test_a_folder_of_another_world_is_refused(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(rendered, "--frames-per-room", "2", "--seed", "5") == 1
    assert "was begun with {'version': " in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_rendering_that_is_ended_leaves_no_process(tmp_path: Path, number: signal.Signals, code: int) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    program = [sys.executable, "-m", "asymformer_ros.cli.main", "render", str(tmp_path), "--workers", "2"]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("images/*")):
            assert process.poll() is None
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(30) == code
    assert len(children) >= 2
    _, left = psutil.wait_procs(children, timeout=5)
    assert [process.status() for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def test_the_number_of_workers_does_not_change_the_files(rendered: Path, tmp_path: Path) -> None:
    assert render(tmp_path / "set", "--frames-per-room", "2", "--workers", "1") == 0
    for file in sorted(path for path in rendered.rglob("*") if path.is_file()):
        assert file.read_bytes() == (tmp_path / "set" / file.relative_to(rendered)).read_bytes(), file.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "at least 1 frame"),
        (["--seed", "-1"], "seeds below 1000000"),
        (["--seed", "999999", "--frames", "9"], "seeds below 1000000"),
    ],
)
def test_a_set_that_cannot_be_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(tmp_path / "set"), *options]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    assert render(tmp_path) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_rooms_are_shared_out_whole() -> None:
    plan = RenderPlan(train_frames=5, test_frames=3, frames_per_room=2, seed=10)
    assert list(plan.rooms()) == [
        ("train", 10, 2),
        ("train", 11, 2),
        ("train", 12, 1),
        ("test", TEST_SEEDS + 10, 2),
        ("test", TEST_SEEDS + 11, 1),
    ]
    with pytest.raises(ConfigurationError, match="at least 1 frame"):
        RenderPlan(1, 1, frames_per_room=0)


@pytest.mark.parametrize("library", ["embreex", "trimesh"])
def test_without_its_libraries_the_world_says_what_to_install(library: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules['{library}'] = None; import asymformer_ros.cli.main as cli; sys.exit(cli.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "render", str(tmp_path / "set")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    assert "pip install trimesh embreex" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "set").exists()
