"""Where results go: a folder, or a place behind a URL; each file is whole or absent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from asymformer_ros.datasets.unlabelled.urls import AnyPath, any_path
from asymformer_ros.errors import AsymformerError
from asymformer_ros.system.files import write_atomically


class StoreError(AsymformerError):
    """Results cannot be written or read back: the disk is full, the place is gone or not allowed."""


@dataclass(frozen=True)
class Store:
    """Files by their names below a place, made as they are written. Raises StoreError.

    staging: name of a folder in it where files lie until they are whole; "": beside their places.
    """

    place: str
    staging: str = ""

    @property
    def root(self) -> AnyPath:
        """The place."""
        return any_path(self.place)

    def below(self, name: str) -> Store:
        """A place in it."""
        return Store(f"{self.place.rstrip('/')}/{name}")

    def write(self, name: str, content: bytes, *, to_disk: bool = True) -> None:
        """Write a file, whole or not at all: in staging and renamed, or as one object.

        to_disk: as of `write_atomically`.
        """
        root = self.root
        if ".." in name.split("/"):
            raise StoreError(f"a frame is called '{name}', which leads out of '{self.place}'")
        try:
            if isinstance(root, Path):
                staging = root / self.staging if self.staging else None
                write_atomically(root / name, content, to_disk=to_disk, staging=staging)
            else:
                root.system.pipe_file((root / name).path, content)
        except Exception as error:  # a storage's library raises its own
            raise StoreError(f"cannot write '{name}' to '{self.place}': {_reason(error)}") from error

    def read(self, name: str) -> bytes | None:
        """A file's content; None where it is not there."""
        file = self.root / name
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StoreError(f"cannot read '{name}' of '{self.place}': {_reason(error)}") from error

    def put(self, file: Path, name: str) -> None:
        """Bring a local file to its name here, in place of what was there."""
        root = self.root
        if isinstance(root, Path):
            raise AssertionError("a local file is renamed where it was made")
        try:
            root.system.put_file(str(file), (root / name).path)
        except Exception as error:
            raise StoreError(f"cannot write '{name}' to '{self.place}': {error}") from error

    def remove(self, folder: str) -> None:
        """Remove a folder that may be there."""
        place = self.root / folder
        if isinstance(place, Path):
            shutil.rmtree(place, ignore_errors=True)
        elif place.exists():
            place.system.rm(place.path, recursive=True)


def _reason(error: Exception) -> object:
    return error.strerror if isinstance(error, OSError) and error.strerror else error
