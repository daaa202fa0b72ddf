"""Recorded RGB-D sequences: a folder of numbered image pairs.

A folder holds `frame-NNNNNN.color.jpg` or `.color.png` (8 bit), for each a `frame-NNNNNN.depth.png` (16 bit, grey,
millimetres, 0 where unknown, registered to the colour camera), and may hold `camera-intrinsics.txt`, the 3x3 camera
matrix. Without that file a typical RGB-D camera's matrix stands in, and `intrinsics_are_guessed` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import read_depth, read_rgb
from asymformer_ros.frames.intrinsics import Intrinsics

INTRINSICS_FILE = "camera-intrinsics.txt"
_COLOR_SUFFIXES = (".color.jpg", ".color.png")


@dataclass(frozen=True)
class RawRgbd:
    """One pair as recorded: rgb (H, W, 3) uint8, RGB order; depth (H, W) uint16 millimetres, 0 where unknown.

    labels: the true class of each pixel, (H, W) uint8, 0-based index of nyuv2_40, 255 where there is none; or None
    where the truth is not known. Raises FrameError where they differ in size.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    labels: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.rgb.shape[:2] != self.depth.shape:
            raise FrameError(
                f"colour is {self.rgb.shape[1]}x{self.rgb.shape[0]} but depth is {self.depth.shape[1]}x"
                f"{self.depth.shape[0]}: record depth registered to the colour camera"
            )
        if self.labels is not None and self.labels.shape != self.depth.shape:
            raise FrameError(f"depth is {self.depth.shape} but labels are {self.labels.shape}: give one for each pixel")


class RgbdRecording(Sequence[RgbdFrame]):
    """The frames of a folder in the order of their numbers.

    Raises FrameError for a folder without frames, a colour image without depth and a first frame or camera matrix
    that cannot be read; later frames are read, and refused, when asked for. with_gaps: so are all but one of the
    frames, whatever is wrong with them.
    """

    def __init__(self, folder: Path, *, with_gaps: bool = False) -> None:
        self.folder = folder
        self._colors = _color_files(folder)
        self._depths = [_depth_file(color, may_lack=with_gaps) for color in self._colors]
        height, width = self._size(with_gaps)
        matrix = folder / INTRINSICS_FILE
        self.intrinsics_are_guessed = not matrix.exists()
        self.intrinsics = (
            Intrinsics.typical(width, height) if self.intrinsics_are_guessed else _read_matrix(matrix, width, height)
        )

    def __len__(self) -> int:
        return len(self._colors)

    def __getitem__(self, index: int) -> RgbdFrame:  # type: ignore[override]
        """One frame, depth in float32 metres, NaN where unknown."""
        raw = self.raw(index)
        return RgbdFrame(rgb=raw.rgb, depth=metres_from_millimetres(raw.depth))

    def _size(self, with_gaps: bool) -> tuple[int, int]:
        """Rows and columns of the first frame, with gaps of the first that can be read."""
        for index in range(len(self) - 1 if with_gaps else 0):
            with suppress(FrameError):
                return self.raw(index).depth.shape  # type: ignore[return-value]
        return self.raw(-1 if with_gaps else 0).depth.shape  # type: ignore[return-value]

    def files(self, index: int) -> tuple[Path, Path]:
        """Colour and depth of one frame."""
        return self._colors[index], self._depths[index]

    def raw(self, index: int) -> RawRgbd:
        """One frame as recorded, without any conversion."""
        color, depth = self.files(index)
        return RawRgbd(rgb=read_rgb(color), depth=read_depth(depth))


def _color_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FrameError(f"no folder '{folder}': expected one with frame-NNNNNN.color.jpg and .depth.png images")
    files = sorted(file for file in folder.glob("frame-*") if file.name.endswith(_COLOR_SUFFIXES))
    if not files:
        raise FrameError(f"folder '{folder}' holds no frame-NNNNNN.color.jpg or .color.png image")
    return files


def _depth_file(color: Path, *, may_lack: bool) -> Path:
    depth = color.with_name(color.name[: color.name.index(".color.")] + ".depth.png")
    if not may_lack and not depth.exists():
        raise FrameError(f"'{color}' has no '{depth.name}' beside it: each colour image needs its depth image")
    return depth


def _read_matrix(path: Path, width: int, height: int) -> Intrinsics:
    try:
        matrix = np.loadtxt(path)
    except (OSError, ValueError) as error:
        raise FrameError(f"'{path}' cannot be read as three lines of three numbers: {error}") from error
    if matrix.shape != (3, 3) or not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise FrameError(f"'{path}' is no 3x3 camera matrix with focal lengths above 0: {matrix.tolist()}")
    return Intrinsics(width, height, *(float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))))
