"""MATLAB's files, of version 5 and of version 7.3, which is HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asymformer_ros.errors import FrameError
from asymformer_ros.optional import importing


@contextmanager
def opened_hdf5(path: Path) -> Iterator[Any]:
    """An h5py.File. Raises FrameError where it cannot be read."""
    with importing("h5py", f"'{path}'"):
        import h5py
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:  # no file, no HDF5 or damaged inside
        raise FrameError(f"'{path}' cannot be read as HDF5: {error}") from error


def read_mat(path: Path, variable: str) -> Any:
    """One variable of a file of MATLAB 5, arrays of length 1 squeezed, structures as objects. Raises FrameError."""
    with importing("scipy", f"'{path}'"):
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    try:
        with path.open("rb") as file:
            return loadmat(file, variable_names=[variable], squeeze_me=True, struct_as_record=False)[variable]
    except KeyError:
        raise FrameError(f"'{path}' holds no {variable}: expected the file of the data set's authors") from None
    except (OSError, ValueError, MatReadError) as error:
        raise FrameError(
            f"'{path}' cannot be read: {error}; the data set's authors publish it with the frames"
        ) from error
