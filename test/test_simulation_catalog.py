"""Models of Sweet Home 3D's catalogues in simulated rooms."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

pytest.importorskip("embreex", reason="needs Embree: pip install trimesh embreex (x86_64)")

from asymformer_ros.cli.main import main
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.catalog import Catalog
from asymformer_ros.simulation.furniture import Piece, block
from asymformer_ros.simulation.materials import Material
from asymformer_ros.simulation.meshes import Part
from asymformer_ros.simulation.scene import Scene
from asymformer_ros.simulation.world import World

DEBIAN = Path("/usr/share/sweethome3d/furniture")
SMALL = Intrinsics.typical(64, 48)
TOILET = {"name": "Toilets unit", "category": "Bathroom", "model": "/a/box.obj", "width": 40, "depth": 70, "height": 80}

CORNERS = [(x, y, z) for x in (-2, 2) for y in (0, 1) for z in (0, 9)]  # theirs: y up, z to the front
BOX = "\n".join(
    [
        "mtllib box.mtl",
        *(f"v {x} {y} {z}" for x, y, z in CORNERS),
        "usemtl body",
        *("f 1 2 4 3", "f 5 7 8 6", "f 1 3 7 5", "f 1 5 6 2", "f 3 4 8 7"),
        "usemtl front",
        "f 2 6 8 4",
    ]
)
COLORS = "newmtl body\nKd 1 1 1\nnewmtl front\nKd 0.2 0.2 0.2\nmap_Kd red.png\n"


def write(folder: Path, *entries: dict[str, object], model: str = BOX) -> Path:
    """A catalogue whose entries all have the same model: a box with a red front."""
    lines = [f"{key}#{number}={value}" for number, entry in enumerate(entries, 1) for key, value in entry.items()]
    red = cv2.imencode(".png", np.full((8, 8, 3), (0, 0, 255), np.uint8))[1].tobytes()
    with ZipFile(folder / "ours.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", "id=ours\n\n" + "\n".join(lines) + "\n")
        for name, data in (("a/box.obj", model), ("a/box.mtl", COLORS), ("a/red.png", red)):
            archive.writestr(name, data)
    return folder


def own(label: int = nyu.TOILET, depth: float = 0.7, height: float = 0.8, top: float | None = None) -> Piece:
    part = block(label, Material((0.5,) * 3, (0.5,) * 3), (0.4, depth, height), (0, depth / 2, 0))
    return Piece((part,), 0.4, depth, height, top)


def replaced(folder: Path, piece: Piece | None = None) -> Piece:
    """What a catalogue gives for the piece, when it gives something."""
    piece, catalog, rng = piece or own(), Catalog.open(folder), np.random.default_rng(0)
    return next((found for _ in range(20) if (found := catalog.instead_of(piece, rng)) is not piece), piece)


def bounds(parts: Sequence[Part]) -> tuple[list[float], list[float]]:
    points = np.concatenate([part.world_vertices() for part in parts])
    return points.min(axis=0).tolist(), points.max(axis=0).tolist()


def front(piece: Piece) -> Part:
    """The part of the red material."""
    return next(part for part in piece.parts if part.material.color[0] > 10 * part.material.color[1])


def test_a_model_has_its_listed_size_its_back_at_the_origin_and_its_front_ahead(tmp_path: Path) -> None:
    piece = replaced(write(tmp_path, TOILET))
    assert (piece.width, piece.depth, piece.height, piece.top) == (0.4, 0.7, 0.8, None)
    assert {part.label for part in piece.parts} == {nyu.TOILET}
    np.testing.assert_allclose(bounds(piece.parts), ((-0.2, 0, 0), (0.2, 0.7, 0.8)), atol=1e-6)
    np.testing.assert_allclose(bounds([front(piece)]), ((-0.2, 0.7, 0), (0.2, 0.7, 0.8)), atol=1e-6)
    np.testing.assert_allclose(np.abs(front(piece).world_normals()), np.tile((0, 1, 0), (6, 1)), atol=1e-6)


def test_materials_have_the_mean_colour_of_their_texture_or_the_diffuse_colour(tmp_path: Path) -> None:
    piece = replaced(write(tmp_path, TOILET))
    body = next(part.material for part in piece.parts if part is not front(piece))
    assert body.color == pytest.approx((0.9, 0.9, 0.9))
    assert front(piece).material.color == pytest.approx((0.9, 0.01, 0.01))


def test_a_model_is_turned_and_hung_as_its_entry_says_and_keeps_its_handedness(tmp_path: Path) -> None:
    turned = {**TOILET, "elevation": "10", "modelRotation": "0 0 1 0 1 0 -1 0 0"}  # their z becomes x, our -x
    piece = replaced(write(tmp_path, turned))
    np.testing.assert_allclose(bounds([front(piece)]), ((-0.2, 0, 0.1), (-0.2, 0.7, 0.9)), atol=1e-6)
    assert piece.height == pytest.approx(0.9)


def test_small_things_stand_on_a_model_where_they_would_stand_on_our_own(tmp_path: Path) -> None:
    table = {**TOILET, "name": "Coffee table", "category": "Living room"}
    assert replaced(write(tmp_path, table), own(nyu.TABLE, top=0.8)).top == 0.8


def test_escapes_of_properties_are_read(tmp_path: Path) -> None:
    assert replaced(write(tmp_path, {**TOILET, "name": r"Toilets\u0020unit", "model": r"/a\/box.obj"})).parts[1:]


@pytest.mark.parametrize(
    ("label", "depth", "height"), [(nyu.SINK, 0.7, 0.8), (nyu.TOILET, 0.5, 0.8), (nyu.TOILET, 0.7, 1.1)]
)
def test_a_piece_of_another_class_or_size_is_kept(tmp_path: Path, label: int, depth: float, height: float) -> None:
    piece = own(label, depth, height)
    assert replaced(write(tmp_path, TOILET), piece) is piece


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Urinal"},
        {"name": "Unit"},
        {"name": "Armchair", "category": "Living room"},
        {"name": "Bedside table", "category": "Bedroom"},
        {"name": "Chair", "category": "Exterior"},
        {"elevation": "145"},
        {"height": "236.4"},
        {"model": "/a/box.dae"},
    ],
)
def test_what_is_unknown_or_hangs_high_is_not_used(tmp_path: Path, change: dict[str, object]) -> None:
    folder = write(tmp_path, TOILET, {**TOILET, **change})
    assert len(Catalog.open(folder).models) == 1


@pytest.mark.parametrize("missing", ["name", "category", "model", "width", "depth", "height"])
def test_an_entry_that_lacks_something_is_named_and_left_out(
    tmp_path: Path, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, {key: value for key, value in TOILET.items() if key != missing}, TOILET)
    assert len(Catalog.open(folder).models) == 1
    assert "ours.sh3f: furniture 1 is left out" in caplog.text


@pytest.mark.parametrize("model", ["", "f 1 2 3", "v 1 2 3\nf 1 2 9", BOX + "\nf 1 2 3" * 65_000], ids=len)
def test_a_damaged_or_very_fine_model_is_named_once_and_left_out(
    tmp_path: Path, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    piece = own()
    assert replaced(write(tmp_path, TOILET, model=model), piece) is piece
    assert caplog.text.count("a/box.obj is left out") == 1


def test_no_member_outside_the_archive_is_read(tmp_path: Path) -> None:
    (tmp_path / "box.obj").write_text(BOX)
    piece = own()
    assert replaced(write(tmp_path, {**TOILET, "model": f"/../..{tmp_path}/box.obj"}), piece) is piece


def test_a_damaged_catalogue_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "broken.sh3f").write_bytes(b"PK, but no archive")
    assert len(Catalog.open(write(tmp_path, TOILET)).models) == 1
    assert "broken.sh3f is left out" in caplog.text


@pytest.mark.parametrize("folder", ["", "missing"])
def test_a_folder_without_catalogues_says_what_to_install(tmp_path: Path, folder: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\.sh3f.*sweethome3d-furniture"):
        Catalog.open(tmp_path / folder)


def test_a_catalogue_without_anything_fitting_changes_nothing(tmp_path: Path) -> None:
    catalog = Catalog.open(write(tmp_path, {**TOILET, "height": 20}))
    for seed in range(8):
        ours, theirs = World(seed).scene, World(seed, catalog).scene
        np.testing.assert_array_equal(ours.surfaces.color, theirs.surfaces.color)
        np.testing.assert_array_equal(ours.surfaces.center, theirs.surfaces.center)


def test_a_world_has_models_that_follow_from_seed_and_catalogue(tmp_path: Path) -> None:
    chair = {**TOILET, "name": "Chair", "category": "Office", "depth": 45, "height": 90}
    catalog = Catalog.open(write(tmp_path, chair))
    model = replaced(tmp_path, own(nyu.CHAIR, 0.45, 0.9)).parts[0].mesh
    with_model = [seed for seed in range(12) if any(p.mesh is model for p in World(seed, catalog).site.parts)]
    assert with_model
    scenes = [World(with_model[0], again).scene for again in (catalog, pickle.loads(pickle.dumps(catalog)))]
    np.testing.assert_array_equal(scenes[0].surfaces.center, scenes[1].surfaces.center)


def test_render_mixes_the_models_in(tmp_path: Path) -> None:
    entries = [
        {**TOILET, "name": name, "category": "Office", "depth": depth, "height": height}
        for name, depth, height in (("Chair", 45, 90), ("Table", 70, 74), ("Cabinet", 50, 90), ("Bookcase", 30, 160))
    ]
    folder = write(tmp_path, *entries)
    options = ["--size", "48x64", "--frames", "6", "--test-frames", "1", "--frames-per-room", "1", "--workers", "1"]
    assert main(["render", str(tmp_path / "set"), *options, "--furniture", str(folder)]) == 0
    same = []
    for seed in range(6):
        labels = cv2.imread(str(tmp_path / f"set/labels/{seed:07d}_00.png"), cv2.IMREAD_UNCHANGED)
        world = World(seed, Catalog.open(folder))
        pose = world.drive.pose(world.drive.seconds / 2)
        np.testing.assert_array_equal(world.photograph(pose, SMALL, 0).labels, labels - 1)
        same.append(len(World(seed).site.parts) == len(world.site.parts))
    assert not all(same)


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's sweethome3d-furniture")
def test_debians_catalogues_have_every_class_and_each_of_their_models_can_be_cast(
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalog = Catalog.open(DEBIAN)
    assert len({model.label for model in catalog.models}) == 10
    for model in catalog.models:
        piece = own(model.label, model.size[1], model.size[2] + model.elevation)
        rng, alone = np.random.default_rng(0), replace(catalog, models=(model,))
        found = next(p for _ in range(50) if (p := alone.instead_of(piece, rng)) is not piece)
        above = np.array([[0, model.size[1] / 2, 3.0]], np.float32)
        assert Scene(found.parts, []).blocked(above, np.array([[0, 0, -3.0]], np.float32)).all(), model.member
    assert not caplog.text
