"""Frames that lack some of their depth, to see how much a model needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import png_chunks, read_depth
from asymformer_ros.frames.resize import resize_nearest

_CELL = 12  # pixels, edge of what is missing together


@dataclass(frozen=True)
class Condition:
    """Under which frames are segmented: a name, and what happens to a frame's depth; it is given the frame's number."""

    name: str
    holes: Callable[[tuple[int, int], int], NDArray[np.bool_]] | None = None

    def apply(self, frame: RgbdFrame, index: int) -> RgbdFrame:
        """The frame, or a copy that lacks depth where `holes` of its size and number are."""
        if self.holes is None:
            return frame
        return RgbdFrame(frame.rgb, np.where(self.holes(frame.size, index), np.float32(np.nan), frame.depth))


AS_IT_IS = Condition("as it is")


def dropout(share: float) -> Condition:
    """Squares of 12 pixels are missing, this share of them, the same for the same frame each time.

    Raises ConfigurationError for a share that is not 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ConfigurationError(f"a share of missing depth is 0 to 1, got {share:g}")

    def holes(size: tuple[int, int], index: int) -> NDArray[np.bool_]:
        rows, columns = (-(-edge // _CELL) for edge in size)
        cells = np.random.default_rng(index).random((rows, columns)) < share
        return cells.repeat(_CELL, axis=0).repeat(_CELL, axis=1)[: size[0], : size[1]]

    return Condition(f"depth dropout {share:g}", holes)


def holes_of(folder: Path) -> Condition:
    """The holes of real depth images are laid over the frames, one after the other and again from the first.

    folder: with PNG files of 16 bit whose zeros are the holes; what else it holds, such as colour, is left alone.
    Raises FrameError where there is none.
    """
    files = _depth_files(folder)

    def holes(size: tuple[int, int], index: int) -> NDArray[np.bool_]:
        return resize_nearest((read_depth(files[index % len(files)]) == 0).view(np.uint8), size).view(np.bool_)

    return Condition(f"depth holes of {folder.resolve().name}", holes)


def _depth_files(folder: Path) -> Sequence[Path]:
    files = [file for file in sorted(folder.glob("*.png")) if _is_depth(file)]
    if not files:
        raise FrameError(f"'{folder}' holds no depth image: expected PNG files of 16 bit, 0 where depth is unknown")
    return files


def _is_depth(file: Path) -> bool:
    """By the header: bit depth 16 and no colour."""
    with file.open("rb") as content:
        return any(header[8:10] == bytes((16, 0)) for _, header in png_chunks(content.read(33)))
