"""Paths on this machine and URLs, through fsspec, alike."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO

from asymformer_ros.errors import AsymformerError, ConfigurationError, DependencyError
from asymformer_ros.optional import importing

_BLOCK = 4 << 20  # bytes that are read at once


@dataclass(frozen=True)
class UrlPath:
    """A file or folder behind a URL, with the methods of a Path that readers of bags call."""

    system: Any
    path: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.path).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix

    def __truediv__(self, name: object) -> UrlPath:
        return UrlPath(self.system, f"{self.path.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return str(self.system.unstrip_protocol(self.path))

    def exists(self) -> bool:
        return bool(self.system.exists(self.path))

    def is_dir(self) -> bool:
        return bool(self.system.isdir(self.path))

    def is_file(self) -> bool:
        return bool(self.system.isfile(self.path))

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes, which are fetched as they are read."""
        return self.system.open(self.path, mode, block_size=_BLOCK)  # type: ignore[no-any-return]

    def read_bytes(self) -> bytes:
        return bytes(self.system.cat_file(self.path))

    def read_text(self, encoding: str | None = None) -> str:
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding or "utf-8").read()

    def stat(self, *, follow_symlinks: bool = True) -> SimpleNamespace:
        return SimpleNamespace(st_size=int(self.system.size(self.path)))

    def iterdir(self) -> list[UrlPath]:
        return [UrlPath(self.system, path) for path in sorted(self.system.ls(self.path, detail=False))]


AnyPath = Path | UrlPath


def any_path(text: str) -> AnyPath:
    """A path, or what a URL such as s3://bucket/folder names; file:// is a path.

    Raises ConfigurationError for a URL that fsspec does not know, DependencyError where its library is missing.
    """
    if "://" not in text:
        return Path(os.path.expanduser(text))
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    with importing("fsspec", f"'{text}'"):
        import fsspec
    try:
        system, path = fsspec.core.url_to_fs(text)
    except ImportError as error:
        raise DependencyError(f"'{text}' needs another library: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"'{text}' is no URL that fsspec knows: {error}") from error
    return UrlPath(system, path)


def local_copy(path: AnyPath) -> Path:
    """The path, or a copy of the whole file or folder behind a URL, which goes with this process."""
    if isinstance(path, Path):
        return path
    folder = Path(tempfile.mkdtemp(prefix="asymformer_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / path.name
    try:
        path.system.get(path.path, str(target), recursive=path.is_dir())
    except Exception as error:  # a storage's library raises its own
        raise AsymformerError(f"'{path}' cannot be fetched: {error}") from error
    return target
