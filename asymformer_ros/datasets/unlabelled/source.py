"""What all sources of frames have in common: chunks that can be read apart, and frames with names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from asymformer_ros.datasets.unlabelled.urls import AnyPath
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics

FRAMES_OF_A_CHUNK = 64
"""Of sources whose frames are files."""

_SAMPLE = 1 << 20  # bytes


@dataclass(frozen=True)
class SourceSpec:
    """What is to be read, and which part of it. Raises ConfigurationError for a value that makes no sense.

    path: a folder, bag or URL; of a pair, its colour: an image, folder, pattern or video. depth: of a pair, "" else.
    topics: of a bag, colour, depth and calibration, each "" where it is to be found. split: of a labelled data set.
    every: only each N-th frame, counted within a chunk. first, last: where to begin and end: of a bag in seconds from
    its start, else the frame's number from 0; last is left out. chunk: of a bag, seconds.
    """

    path: str
    depth: str = ""
    topics: tuple[str, str, str] = ("", "", "")
    split: str = "test"
    every: int = 1
    first: float = 0.0
    last: float = float("inf")
    chunk: float = 60.0

    def __post_init__(self) -> None:
        if self.every < 1 or self.chunk <= 0:
            raise ConfigurationError(f"every is {self.every} and chunk {self.chunk}: expected 1 or more, and above 0")
        if not 0 <= self.first < self.last:
            raise ConfigurationError(f"from {self.first:g} to {self.last:g}: expected 0 or more, and an end behind it")

    @property
    def name(self) -> str:
        """What its results are called."""
        return Path(self.path.rstrip("/")).name.split("*")[0].strip("._-") or "frames"


@dataclass(frozen=True)
class Item:
    """A frame to segment.

    read: raises FrameError where it cannot be had. facts: where it is from, JSON-ready. intrinsics: of its camera, for
    images of a size, (height, width); raises AsymformerError where they are not known. other_name: what it is called
    where an earlier frame has its name; "" where names do not repeat in a healthy source.
    """

    name: str
    read: Callable[[], RgbdFrame]
    facts: Mapping[str, object] = field(default_factory=dict)
    intrinsics: Callable[[tuple[int, int]], Intrinsics] = lambda size: Intrinsics.typical(size[1], size[0])
    other_name: str = ""


@dataclass(frozen=True)
class Broken:
    """What cannot be read, and why. is_fault: False for colour without depth, of which healthy bags have some, too.

    other_name: as of Item.
    """

    name: str
    error: str
    is_fault: bool = True
    other_name: str = ""


class Source(Protocol):
    """Frames in chunks."""

    @property
    def fingerprint(self) -> str:
        """Another one where the source is another."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What it is, JSON-ready, for the manifest."""

    @property
    def about(self) -> int:
        """How many frames there are, about."""

    @property
    def chunks(self) -> Sequence[tuple[int, int]]:
        """Start and end of each, the end left out, in the source's own count."""

    def items(self, chunk: tuple[int, int]) -> Iterator[Item | Broken]:
        """The frames of a chunk, in order."""


def selected(spec: SourceSpec, count: int) -> range:
    """Numbers of the frames that a spec asks for. Raises ConfigurationError where there are none."""
    chosen = range(int(spec.first), min(count, int(min(spec.last, count))))
    if not chosen:
        raise ConfigurationError(f"'{spec.path}' has {count} frames: none from {spec.first:g} on")
    return chosen


def chunks_of(chosen: range) -> list[tuple[int, int]]:
    """A range in pieces of FRAMES_OF_A_CHUNK."""
    starts = range(chosen.start, chosen.stop, FRAMES_OF_A_CHUNK)
    return [(start, min(start + FRAMES_OF_A_CHUNK, chosen.stop)) for start in starts]


def fingerprint(files: Iterable[AnyPath]) -> str:
    """SHA-256 over the names and sizes of files, and the first and last MiB of each: recordings may be large."""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            digest.update(content.read(_SAMPLE))
            content.seek(max(0, size - _SAMPLE))
            digest.update(content.read(_SAMPLE))
    return digest.hexdigest()
