"""Ray casting, light and the sensor, on scenes made by hand whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("embreex", reason="needs Embree: pip install trimesh embreex (x86_64)")

from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.drive import camera_pose
from asymformer_ros.simulation.furniture import block
from asymformer_ros.simulation.materials import Material
from asymformer_ros.simulation.meshes import Mesh, Part, ball, bowl, box, cloth, cushion, cylinder, frustum
from asymformer_ros.simulation.rendering import Rendering, render
from asymformer_ros.simulation.scene import Light, Scene
from asymformer_ros.simulation.sensor import KINECT, expose, measure_depth

CAMERA = Intrinsics.typical(160, 120)
GREY = Material((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LAMP = Light((0.0, 0.0, 2.3), ((0.1, 0, 0), (0, 0.1, 0)), (2.0, 2.0, 2.0))
AHEAD = camera_pose((0.0, 0.0, 1.0), yaw=0.0, pitch=0.0)
DOWN = camera_pose((0.0, 0.0, 2.0), yaw=0.0, pitch=-np.pi / 2)


def hall(half: float = 10.0) -> list[Part]:
    """Six slabs around a hall of 2 * half metres, the floor at 0, the ceiling at 2.5."""
    sides = [block(nyu.FLOOR, GREY, (3 * half, 3 * half, 1), (0, 0, -1))]
    sides.append(block(nyu.CEILING, GREY, (3 * half, 3 * half, 1), (0, 0, 2.5)))
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        sides.append(
            block(nyu.WALL, GREY, (3 * half, 1, 4), (0, half + 0.5, -0.5)).placed(np.arctan2(-x, y), (0, 0, 0))
        )
    return sides


def view_of(*things: Part, pose: np.ndarray = AHEAD, half: float = 10.0) -> tuple[Scene, Rendering]:
    scene = Scene([*hall(half), *things], [LAMP])
    return scene, render(scene, pose, CAMERA)


def depth_of(scene: Scene, view: Rendering, pose: np.ndarray = AHEAD) -> np.ndarray:
    return measure_depth(scene, view, pose, np.random.default_rng(0))


def plate(distance: float, material: Material = GREY) -> Part:
    """A large upright plate across the way of AHEAD."""
    return block(nyu.BOX, material, (0.1, 30, 4), (distance + 0.05, 0, -0.5))


def test_depth_is_the_distance_along_the_optical_axis() -> None:
    _, view = view_of(plate(3.0))
    np.testing.assert_allclose(view.depth[view.labels == nyu.BOX], 3.0, atol=1e-3)
    assert (view.labels == nyu.BOX).mean() > 0.5


def test_what_is_nearer_hides_what_is_farther() -> None:
    _, view = view_of(plate(3.0), block(nyu.TABLE, GREY, (0.5, 0.5, 0.5), (2.0, 0, 0.75)))
    assert view.labels[60, 80] == nyu.TABLE
    assert view.depth[60, 80] == pytest.approx(1.75, abs=1e-3)


def test_image_axes_are_those_of_the_optical_frame() -> None:
    """x to the right, y down: a thing on the left (world y above 0 when looking along x) and above."""
    _, view = view_of(block(nyu.BOX, GREY, (0.2, 0.2, 0.2), (3.0, 0.8, 1.5)))
    rows, columns = np.nonzero(view.labels == nyu.BOX)
    assert columns.max() < 80
    assert rows.max() < 60


def test_points_are_where_depth_and_intrinsics_put_them() -> None:
    _, view = view_of(plate(3.0))
    row, column = 30, 20
    camera = np.array([(column - CAMERA.cx) / CAMERA.fx, (row - CAMERA.cy) / CAMERA.fy, 1]) * view.depth[row, column]
    np.testing.assert_allclose(AHEAD[:3, :3] @ camera + AHEAD[:3, 3], view.points[row, column], atol=1e-3)


def test_a_thing_below_the_lamp_throws_a_shadow_on_the_floor() -> None:
    _, lit = view_of(pose=DOWN)
    _, shaded = view_of(
        block(nyu.TABLE, GREY, (0.4, 0.4, 0.05), (0.0, 0, 1.9)), pose=camera_pose((0.6, 0, 1.8), 0, -1.5)
    )
    floor = shaded.labels == nyu.FLOOR
    assert np.percentile(shaded.radiance[floor].mean(axis=1), 1) < 0.5 * np.median(lit.radiance.mean(axis=2))


@pytest.mark.parametrize("mesh", [box(), cylinder(), frustum(0.6), ball(), cushion(), bowl(), cloth(4)])
def test_primitives_fill_a_cube_of_edge_one_and_have_normals(mesh: Mesh) -> None:
    assert mesh.vertices.min() >= -0.501
    assert mesh.vertices.max() <= 0.501
    assert np.median(np.linalg.norm(mesh.normals[np.unique(mesh.faces)], axis=1)) == pytest.approx(1.0, abs=0.05)
    assert mesh.faces.max() < len(mesh.vertices)


def test_depth_noise_grows_with_distance() -> None:
    spread = []
    for distance in (1.0, 3.0, 6.0):
        scene, view = view_of(plate(distance))
        depth = depth_of(scene, view)[view.labels == nyu.BOX]
        spread.append(depth[depth > 0].std())
        assert np.median(depth[depth > 0]) == pytest.approx(1000 * distance, rel=0.02)
    assert spread[0] < spread[1] < spread[2]


@pytest.mark.parametrize(("distance", "known"), [(0.3, False), (0.6, True), (7.0, True), (9.0, False)])
def test_depth_is_known_within_the_range_of_the_sensor(distance: float, known: bool) -> None:
    scene, view = view_of(plate(distance), half=20.0)
    depth = depth_of(scene, view)[view.labels == nyu.BOX]
    assert ((depth > 0).mean() > 0.9) == known
    assert known or not depth.any()


def test_glass_and_what_is_dark_lose_depth() -> None:
    shares = []
    for material in (GREY, Material((0.01,) * 3, (0.01,) * 3), Material((0.5,) * 3, (0.5,) * 3, clear=True)):
        scene, view = view_of(plate(3.0, material))
        shares.append((depth_of(scene, view)[view.labels == nyu.BOX] == 0).mean())
    assert shares[0] < 0.02
    assert shares[1] > 0.3
    assert shares[2] > 0.7


def test_slanted_surfaces_lose_depth() -> None:
    """The far floor is seen at a flat angle."""
    scene, view = view_of(half=30.0)
    depth = depth_of(scene, view)
    in_range = view.depth < KINECT.farthest
    steep, flat = in_range & (view.facing > 0.25), in_range & (view.facing < 0.14)
    assert (depth[flat] == 0).mean() > 0.4
    assert (depth[steep] == 0).mean() < 0.05


def test_the_projectors_shadow_is_at_one_side_of_a_near_thing() -> None:
    scene, view = view_of(plate(3.0), block(nyu.TABLE, GREY, (0.1, 0.4, 4.0), (1.0, 0, -0.5)))
    holes = (depth_of(scene, view) == 0)[40:80]
    columns = np.nonzero((view.labels == nyu.TABLE)[60])[0]
    left, right = holes[:, columns[0] - 6 : columns[0] - 1], holes[:, columns[-1] + 2 : columns[-1] + 7]
    assert max(left.mean(), right.mean()) > 0.8
    assert min(left.mean(), right.mean()) < 0.2


@settings(max_examples=20, deadline=None)
@given(power=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_exposure_makes_any_light_a_usable_picture(power: float, seed: int) -> None:
    ramp = np.linspace(0.2, 1.0, 64 * 48 * 3, dtype=np.float32).reshape(48, 64, 3) * np.float32(power)
    image = expose(ramp, np.random.default_rng(seed))
    assert 90 < image.mean() < 220
    assert image.std() > 15
