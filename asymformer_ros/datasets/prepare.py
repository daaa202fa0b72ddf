"""Turns the original downloads of data sets into the PNG layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.labelled import DataSet
from asymformer_ros.datasets.png import PngWriter
from asymformer_ros.errors import AsymformerError, FrameError
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.system.files import write_atomically

BROKEN_FILE = "broken.txt"
"""Names the frames that were left out, and why."""

_FARTHEST = np.iinfo(np.uint16).max  # millimetres


def prepare(splits: Mapping[str, DataSet], folder: Path, on_broken: Callable[[str], None]) -> Iterator[str]:
    """Write the frames of each split in the PNG layout, depth in whole millimetres; gives the name of each.

    A folder where this was interrupted is gone on with. on_broken: is told of each frame that is left out, and why.
    Raises ConfigurationError for a folder with another content, AsymformerError where it cannot be written.
    """
    first = next(iter(splits.values()))
    source = {"data": first.name, **{split: data.fingerprint for split, data in splits.items()}}
    names = [set(data.frame_names) for data in splits.values()]
    several = set.intersection(*names) if len(names) > 1 else set()
    with PngWriter(folder, None, first.label_set, source) as writer:
        for split, data in splits.items():
            seen: set[str] = set()
            for index, name in enumerate(data.frame_names):
                if name in seen:
                    on_broken(f"{split} {name}: is listed twice")
                else:
                    written = f"{split}-{name}" if name in several else name
                    _write(writer, data, index, (written.replace("/", "-"), split), on_broken)
                seen.add(name)
                yield name


def write_broken(folder: Path, broken: Sequence[str]) -> None:
    """Write what `on_broken` was told, or remove the file where it is nothing. Raises AsymformerError."""
    path = folder / BROKEN_FILE
    try:
        if broken:
            write_atomically(path, "".join(f"{line}\n" for line in broken).encode())
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AsymformerError(f"cannot write '{path}': {error.strerror}") from error


def _write(
    writer: PngWriter, data: DataSet, index: int, place: tuple[str, str], on_broken: Callable[[str], None]
) -> None:
    """place: name and split."""
    name, split = place
    camera = data.cameras.get(data.frame_names[index], "")
    if writer.keep(name, split, camera):
        return
    try:
        labelled = data[index]
    except FrameError as error:
        on_broken(f"{split} {data.frame_names[index]}: {error}")
        return
    raw = RawRgbd(labelled.frame.rgb, _millimetres(labelled.frame.depth), labelled.labels)
    writer.add(name, raw, None, split, camera)


def _millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(np.nan_to_num(depth * 1000)).clip(0, _FARTHEST).astype(np.uint16)
