"""Furniture models of Sweet Home 3D's catalogues, which can stand for our own pieces.

A catalogue (*.sh3f) is a zip archive of OBJ models with a list of their names and sizes (centimetres). Debian's package
sweethome3d-furniture has five of them.
"""

from __future__ import annotations

import io
import logging
import posixpath
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.simulation import classes as nyu
from asymformer_ros.simulation.furniture import Piece, Rng
from asymformer_ros.simulation.materials import Material
from asymformer_ros.simulation.meshes import Mesh, Part, Vector

_SHARE = 0.5  # of our pieces that a model replaces, where there is one
_ALIKE = 1.3  # such a model's depth and height differ from the piece's by less than this factor
_MOST_FACES = 65_000
_CEILING = 2.25  # metres; the lowest is at 2.3
_SMOOTH = 0.95  # cosine of the bend up to which an edge counts as round
_LIST = "PluginFurnitureCatalog.properties"
_ROOMS = ("Bathroom", "Bedroom", "Kitchen", "Living room", "Office")
_CLASSES = {
    nyu.SOFA: "sofa|couch",
    nyu.CHAIR: "chair",
    nyu.BED: "bed",
    nyu.TABLE: "table",
    nyu.CABINET: "cabinet|cupboard|wardrobe",
    nyu.BOOKSHELF: "bookcase|bookshelf",
    nyu.REFRIGERATOR: "fridge|refrigerator",
    nyu.TOILET: "toilets? unit",
    nyu.SINK: "washbasin|lavatory",
    nyu.BATHTUB: "bath|bathtub",
}
"""Words in a model's name that tell its class, where none of the others is in it."""
_OTHERS = "bar|bedside|changing|desk|fan|high chair|sink|technical|television|tennis"
_UPRIGHT = "1 0 0 0 1 0 0 0 1"
_AXES = np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]])  # theirs: y up, z to the front

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A model that is not loaded yet.

    size: width, depth, height; elevation: how high it hangs; metres. turn: rotation (3, 3), row by row, that makes it
    stand with its front to their z.
    """

    archive: Path
    member: str
    label: int
    size: Vector
    elevation: float
    turn: tuple[float, ...]

    def is_like(self, piece: Piece) -> bool:
        """Whether it can stand where the piece was meant to."""
        ratios = np.array([self.size[1] / piece.depth, (self.size[2] + self.elevation) / piece.height])
        return self.label == piece.parts[0].label and bool((np.maximum(ratios, 1 / ratios) < _ALIKE).all())


@dataclass(frozen=True)
class Catalog:
    """Models in the order of their archives' names."""

    models: tuple[Model, ...]

    @staticmethod
    def open(folder: Path) -> Catalog:
        """All catalogues in a folder; what is damaged is logged and left out. Raises ConfigurationError."""
        models = tuple(model for path in sorted(folder.glob("*.sh3f")) for model in _models(path))
        if not models:
            raise ConfigurationError(
                f"{folder} has no furniture catalogue (*.sh3f of Sweet Home 3D) that can be used: "
                "`apt install sweethome3d-furniture` puts some into /usr/share/sweethome3d/furniture"
            )
        return Catalog(models)

    def instead_of(self, piece: Piece, rng: Rng) -> Piece:
        """A model of the piece's class and about its size, half of the time; else the piece itself."""
        alike = [model for model in self.models if model.is_like(piece)]
        if not alike or rng.random() > _SHARE:
            return piece
        found = _piece(alike[int(rng.integers(len(alike)))])
        if found is None:
            return piece
        return found if piece.top is None else replace(found, top=found.height)


def _models(path: Path) -> Iterator[Model]:
    """What a catalogue has for us."""
    try:
        with ZipFile(path) as archive:
            text = archive.read(_LIST).decode("latin-1")
    except (BadZipFile, KeyError, OSError, zlib.error) as error:
        _log.warning("%s is left out: no furniture catalogue, or damaged (%s)", path, error)
        return
    entries: dict[str, dict[str, str]] = {}
    for key, number, value in re.findall(r"^(\w+)#(\d+)[ \t]*[=:][ \t]*(.*?)\s*$", text, re.MULTILINE):
        entries.setdefault(number, {})[key] = _unescaped(value)
    for number, entry in entries.items():
        try:
            yield from _model(path, entry)
        except (KeyError, ValueError) as error:
            _log.warning("%s: furniture %s is left out: %r", path, number, error)


def _unescaped(value: str) -> str:
    """Of a Java properties file."""
    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", lambda found: found[2] or chr(int(found[1], 16)), value)


def _model(path: Path, entry: dict[str, str]) -> Iterator[Model]:
    """The model of an entry, or none where its kind is unknown or it hangs high."""
    name, elevation = entry["name"].lower(), float(entry.get("elevation", 0)) / 100
    labels = [label for label, words in _CLASSES.items() if re.search(rf"\b({words})\b", name)]
    width, depth, height = (float(entry[key]) / 100 for key in ("width", "depth", "height"))
    turn = tuple(float(number) for number in entry.get("modelRotation", _UPRIGHT).split())
    if min(width, depth, height) <= 0 or len(turn) != 9:
        raise ValueError("sizes above 0 and a rotation of nine numbers are expected")
    member = entry["model"].lstrip("/")
    usable = labels and entry["category"] in _ROOMS and not re.search(rf"\b({_OTHERS})\b", name)
    if usable and member.lower().endswith(".obj") and elevation < 0.6 and elevation + height < _CEILING:
        yield Model(path, member, labels[0], (width, depth, height), elevation, turn)


@cache
def _piece(model: Model) -> Piece | None:
    """The model as a piece; None, logged once, where it is damaged or too fine."""
    try:
        parts = tuple(_parts(model))
    except Exception as error:  # whatever a damaged file makes of a reader
        _log.warning("%s: %s is left out: %r", model.archive, model.member, error)
        return None
    return Piece(parts, *model.size[:2], model.size[2] + model.elevation)


def _parts(model: Model) -> Iterator[Part]:
    """A part for each material, all of them scaled alike into the model's space."""
    surfaces = list(_surfaces(model))
    if not 0 < (count := sum(len(faces) for _, faces, _ in surfaces)) <= _MOST_FACES:
        raise ValueError(f"1 to {_MOST_FACES} faces are expected, it has {count}")
    points = np.concatenate([points for points, _, _ in surfaces])
    low, extent = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-6)
    center = 0.0, model.size[1] / 2, model.elevation + model.size[2] / 2
    for points, faces, material in surfaces:
        mesh = _shaded((points - low) / extent - 0.5, faces, model.size)
        yield Part(mesh, model.size, center, model.label, material)


def _surfaces(model: Model) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64], Material]]:
    """Points in our axes, faces and material. Nothing is unpacked: the archive's members are read by their names."""
    import trimesh  # meshes has checked that it is there

    with ZipFile(model.archive) as archive:
        text = archive.read(model.member)
        named = re.search(rb"^mtllib\s+(.+?)\s*$", text, re.MULTILINE)
        library = named[1].decode() if named else ""
        listed = archive.read(_beside(model.member, library)) if named else b""
        materials = dict(_materials(archive, model.member, listed.decode("latin-1")))
    resolver = trimesh.resolvers.ZipResolver({library: listed})
    scene = trimesh.load(io.BytesIO(text), file_type="obj", resolver=resolver, force="scene", process=False)
    assert isinstance(scene, trimesh.Scene)
    turn = _AXES @ np.reshape(model.turn, (3, 3))
    for mesh in scene.geometry.values():
        name = getattr(getattr(mesh.visual, "material", None), "name", "")
        yield mesh.vertices @ turn.T, mesh.faces, materials.get(name, _plain(0.5, 0.5, 0.5))


def _shaded(points: NDArray[np.float64], faces: NDArray[np.int64], size: Vector) -> Mesh:
    """Points of the cube -0.5..0.5 as a mesh: smooth where, at this size, it bends little, with edges elsewhere."""
    a, b, c = np.moveaxis((points * size)[faces], 1, 0)
    normals = np.cross(b - a, c - a)[:, None].repeat(3, axis=1)  # of each face's corners, as long as the face is large
    summed = np.zeros_like(points)
    np.add.at(summed, faces, normals)
    flat, smooth = _unit(normals), _unit(summed[faces])
    edge = np.einsum("ijk,ijk->ij", smooth, flat) < _SMOOTH
    normals = np.where(edge[..., None], flat, smooth) * size  # a part divides by its size
    corners = points[faces].reshape(-1, 3).astype(np.float32)
    return Mesh(
        corners, normals.reshape(-1, 3).astype(np.float32), np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    )


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _materials(archive: ZipFile, member: str, listed: str) -> Iterator[tuple[str, Material]]:
    """Each material of an MTL file in its diffuse colour, or the mean colour of its texture."""
    name = ""
    for key, _, value in (line.strip().partition(" ") for line in listed.splitlines()):
        if key == "newmtl":
            name = value.strip()
        elif key == "Kd":
            yield name, _plain(*(float(number) for number in value.split()))
        elif key == "map_Kd" and (texture := _beside(member, value.strip())) in archive.namelist():
            image = cv2.imdecode(np.frombuffer(archive.read(texture), np.uint8), cv2.IMREAD_REDUCED_COLOR_4)
            if image is not None:
                yield name, _plain(*np.mean(image / 255.0, axis=(0, 1))[::-1])


def _beside(member: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(member), name.replace("\\", "/")))


def _plain(*color: float) -> Material:
    """An even, slightly shiny coat of an sRGB colour."""
    red, green, blue = (0.01 + 0.89 * min(1.0, max(0.0, channel)) ** 2.2 for channel in color)
    return Material((red, green, blue), (0.93 * red, 0.93 * green, 0.93 * blue), "plain", 0.8, gloss=0.1)
