"""Labelled data sets, told apart by what a folder holds, and read frame by frame."""

from __future__ import annotations

from pathlib import Path

from asymformer_ros.datasets.files import NPY, PNG, SUNRGBD, FileDataSet
from asymformer_ros.datasets.labelled import SPLITS, DataSet, LabelledFrame
from asymformer_ros.datasets.nyuv2_mat import MAT_FILE, Nyuv2MatDataSet
from asymformer_ros.datasets.part import Part, hold_out
from asymformer_ros.errors import ConfigurationError

__all__ = ["SPLITS", "DataSet", "LabelledFrame", "Part", "hold_out", "open_data_set"]

_LAYOUTS = (PNG, NPY, SUNRGBD)
_SHOWN = 8  # names of a folder's content that an error shows


def open_data_set(folder: Path, split: str) -> DataSet:
    """One split, of SPLITS, of the data set in a folder.

    Raises ConfigurationError where the folder is none that this package knows, saying what was expected, and FrameError
    where something of the split is missing. What is wrong with a frame comes out when it is read.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"split is '{split}': expected one of {', '.join(SPLITS)}")
    if (folder / MAT_FILE).exists():
        return Nyuv2MatDataSet(folder, split)
    for layout in _LAYOUTS:
        if all((folder / name).is_dir() for name in layout.folders(split)):
            return FileDataSet(folder, split, layout)
    raise ConfigurationError(_unknown(folder, split))


def _unknown(folder: Path, split: str) -> str:
    if not folder.is_dir():
        return f"no data set: there is no folder '{folder}'"
    known = "; or ".join(", ".join(layout.folders(split)) for layout in _LAYOUTS)
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:_SHOWN]) or "nothing"
    return f"'{folder}' is no data set that is known here: it holds {found}; expected {known}; or {MAT_FILE}"
