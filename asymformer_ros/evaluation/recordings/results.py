"""The results of one recording as a whole: begun, gone on with, and put together at the end."""

from __future__ import annotations

import json
import logging
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from asymformer_ros import __version__
from asymformer_ros.datasets.unlabelled import Source
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.recordings.job import Job, Part
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.system.files import parse_object

MANIFEST, SUMMARY, CLASSES = "manifest.json", "summary.jsonl", "classes.json"
_log = logging.getLogger(__name__)

Line = dict[str, object]
"""Of the summary: a frame's."""


@dataclass(frozen=True)
class Counts:
    """Frames of a recording: segmented, broken, and colour that no depth fits, which is a fault where it is all."""

    frames: int
    broken: int
    without_depth: int


class Results:
    """What there is of a job's results.

    Raises ConfigurationError where its place holds those of another job: another recording, model or choice.
    """

    def __init__(self, job: Job, source: Source) -> None:
        self._store, self._job, self._source = job.store, job, source
        self._identity = job.identity(source)
        content = self._store.read(MANIFEST)
        manifest = {} if content is None else _parsed(content)
        self.is_complete = bool(manifest.get("complete"))
        known: Any = manifest.get("identity", self._identity)
        if known != self._identity:
            differs = known if isinstance(known, dict) else {}
            parts = [name for name in self._identity if differs.get(name) != self._identity[name]]
            raise ConfigurationError(
                f"'{job.place}' holds the results of another run, which differs in {', '.join(parts)}: give another "
                "place with --output, or remove it"
            )
        if content is None:
            self._write_manifest(complete=False)

    def missing(self) -> list[int]:
        """Numbers of the chunks that are not done."""
        if self.is_complete:
            return []
        return [at for at in range(len(self._source.chunks)) if not Part.read(self._store, at).is_done]

    def give_up(self, index: int, error: str) -> None:
        """Note that the rest of a chunk cannot be had."""
        part = Part.read(self._store, index)
        part.lines.append({"name": f"chunk {index}", "error": error})
        part.is_done = part.is_given_up = True
        part.write(self._store, index)

    def finish(self, classes: LabelSet, do_again: Callable[[int], Part]) -> Counts:
        """Put the summary and the manifest together from the parts of all chunks, which are all done.

        classes: what the labels mean, for who reads them without the model. do_again: segments what is missing of a
        chunk: frames whose names an earlier chunk has, and those frames.
        """
        if not self.is_complete:
            parts = [Part.read(self._store, at) for at in range(len(self._source.chunks))]
            for at in self._give_back(parts):
                parts[at] = do_again(at)
            lines = {str(line["name"]): line for part in parts for line in part.lines}
            text = "".join(json.dumps(line) + "\n" for line in lines.values())
            self._store.write(SUMMARY, text.encode())
            self._store.write(CLASSES, json.dumps(classes.to_json(), indent=1).encode() + b"\n")
            backends = sorted({part.backend for part in parts} - {""})
            self._write_manifest(complete=True, lines=list(lines.values()), backends=backends)
            self.is_complete = True
        return counts(self.lines())

    def _give_back(self, parts: Sequence[Part]) -> list[int]:
        """Take frames of one name out of all chunks that have it: they wrote the same files. Returns these chunks.

        Chunks do not know each other's stamps, which may repeat. Only the first chunk keeps the name, and before it one
        that is given up, whose frames are then broken. It is written first: interrupted behind it, all of this comes
        again.
        """
        owners: dict[str, int] = {}
        shared: dict[int, set[str]] = defaultdict(set)
        order = sorted(range(len(parts)), key=lambda at: not parts[at].is_given_up)
        for at in order:
            names = {str(line["name"]) for line in parts[at].lines}
            for name in names & owners.keys():
                shared[owners[name]].add(name)
                shared[at].add(name)
            owners |= dict.fromkeys(names - owners.keys(), at)
        for at in (at for at in order if at in shared):
            part = parts[at]
            if part.is_given_up:
                part.lines = [_spoilt(line) if line["name"] in shared[at] else line for line in part.lines]
            else:
                part.lines = [line for line in part.lines if line["name"] not in shared[at]]
                part.taken = sorted({*part.taken, *(name for name in shared[at] if owners[name] != at)})
                part.is_done = False
            part.write(self._store, at)
        return sorted(shared)

    def lines(self) -> list[Line]:
        """Of the summary, of complete results."""
        return [_parsed(line) for line in (self._store.read(SUMMARY) or b"").splitlines()]

    def _write_manifest(self, *, complete: bool, lines: Sequence[Line] = (), backends: Sequence[str] = ()) -> None:
        versions = {"asymformer_ros": __version__, "python": platform.python_version()}
        versions |= {"numpy": np.__version__, "opencv": cv2.__version__}
        source = {"path": _absolute(self._job.spec.path), "depth": _absolute(self._job.spec.depth)}
        manifest: dict[str, object] = {"complete": complete, "identity": self._identity, "versions": versions}
        manifest["source"] = source  # where it was: not part of what it is
        if complete:
            count = counts(lines)
            told = {"frames": count.frames, "broken": count.broken, "without_depth": count.without_depth}
            manifest |= {"counts": told, "backends": list(backends)}
        self._store.write(MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")


def _absolute(path: str) -> str:
    """Of a path on this machine; URLs, and "", as they are."""
    return path if "://" in path or not path else str(Path(path).absolute())


def _spoilt(line: Line) -> Line:
    """Of a chunk that is given up, whose frame cannot be segmented again."""
    return {"name": line["name"], "error": "another frame of its stamp took its files, and its chunk is given up"}


def counts(lines: Sequence[Line]) -> Counts:
    """Of a summary's lines."""
    faults = [bool(line.get("fault", True)) for line in lines if "error" in line]
    return Counts(len(lines) - len(faults), sum(faults), faults.count(False))


def _parsed(content: bytes) -> dict[str, object]:
    try:
        return parse_object(content.decode())
    except ValueError as error:
        raise ConfigurationError(f"results that are there already are damaged ({error}): give another place") from error
