"""Labelled data sets, told apart by what a folder holds, and read frame by frame."""

from __future__ import annotations

from pathlib import Path

from asymformer_ros.datasets.described import DESCRIPTION_FILE, read_description
from asymformer_ros.datasets.files import NPY, PNG, SUNRGBD, FileDataSet, Layout, listed_names
from asymformer_ros.datasets.labelled import SPLITS, DataSet, LabelledFrame
from asymformer_ros.datasets.nyuv2_mat import MAT_FILE, Nyuv2MatDataSet
from asymformer_ros.datasets.part import Part, hold_out
from asymformer_ros.datasets.sunrgbd import TOOLBOX, SunRgbdOriginal
from asymformer_ros.errors import ConfigurationError, FrameError

__all__ = [
    "SPLITS",
    "DataSet",
    "LabelledFrame",
    "Part",
    "file_layout",
    "hold_out",
    "in_both_splits",
    "open_data_set",
    "open_for_check",
]

_LAYOUTS = (PNG, NPY, SUNRGBD)
_SHOWN = 8  # names of a folder's content that an error shows


def open_data_set(folder: Path, split: str) -> DataSet:
    """One split, of SPLITS, of the data set in a folder.

    Raises ConfigurationError where the folder is none that this package knows, saying what was expected, and FrameError
    where something of the split is missing. What is wrong with a frame comes out when it is read.
    """
    return _opened(folder, split, must_be_whole=True)


def open_for_check(folder: Path, split: str) -> DataSet:
    """As `open_data_set`, but a file that is missing comes out only where its frame is read."""
    return _opened(folder, split, must_be_whole=False)


def _opened(folder: Path, split: str, *, must_be_whole: bool) -> DataSet:
    if split not in SPLITS:
        raise ConfigurationError(f"split is '{split}': expected one of {', '.join(SPLITS)}")
    if (folder / MAT_FILE).exists():
        return Nyuv2MatDataSet(folder, split)
    if (folder / TOOLBOX).is_dir():
        return SunRgbdOriginal(folder, split)
    return FileDataSet(folder, split, file_layout(folder, split), must_be_whole=must_be_whole)


def in_both_splits(folder: Path) -> list[str]:
    """Names of the frames that a folder of files lists for training and for testing; empty where it is another layout.

    Raises ConfigurationError as `open_data_set`.
    """
    if (folder / MAT_FILE).exists() or (folder / TOOLBOX).is_dir():
        return []
    layout = file_layout(folder, "test")
    if "{split}" in layout.rgb:  # the same name is another frame then
        return []
    try:
        train, test = (listed_names(folder, split, layout) for split in SPLITS)
    except FrameError:  # one of the lists is not there
        return []
    return sorted(set(train) & set(test))


def file_layout(folder: Path, split: str) -> Layout:
    """How the files of a folder are arranged. Raises ConfigurationError where it is nothing that is known."""
    if (folder / DESCRIPTION_FILE).is_file():
        return read_description(folder)
    for layout in _LAYOUTS:
        if all((folder / name).is_dir() for name in layout.folders(split)):
            return layout
    raise ConfigurationError(_unknown(folder, split))


def _unknown(folder: Path, split: str) -> str:
    if not folder.is_dir():
        return f"no data set: there is no folder '{folder}'"
    known = "; or ".join(", ".join(layout.folders(split)) for layout in _LAYOUTS)
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:_SHOWN]) or "nothing"
    return (
        f"'{folder}' is no data set that is known here: it holds {found}; expected {known}; or {MAT_FILE}; "
        f"or {TOOLBOX}; or a {DESCRIPTION_FILE} that says what it holds (docs/evaluation.md)"
    )
