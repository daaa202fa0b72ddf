"""What is to be done with one recording, and one chunk of it done: the same on one machine and in a cluster."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

from asymformer_ros.datasets.unlabelled import Source, SourceSpec, open_source
from asymformer_ros.datasets.unlabelled.source import Broken, Item
from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.evaluation.recordings.files import FrameFiles, is_whole
from asymformer_ros.evaluation.recordings.store import Store
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.selection import open_serving

PARTS = "parts"
"""Folder of what is known of each chunk, and of files that are being written, until all are done."""

_SAVE_EVERY = 2.0  # seconds
_WRITERS = 2  # threads that encode and write while the network has the next frame
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Job:
    """One recording to segment. place: folder or URL of its results. model_sha256: so that all workers have one model.

    strict: whether a frame that is broken is an error. fingerprint: of the source, so that all workers read one.
    """

    spec: SourceSpec
    place: str
    model: str
    serving: ServingOptions
    model_sha256: str
    files: FrameFiles
    min_confidence: float = 0.0
    strict: bool = False
    fingerprint: str = ""

    @property
    def store(self) -> Store:
        """Where its results go."""
        return Store(self.place, staging=PARTS)

    def identity(self, source: Source) -> dict[str, object]:
        """All that the results follow from, JSON-ready."""
        spec = {name: value for name, value in asdict(self.spec).items() if name not in ("path", "depth")}
        identity = {
            "input": {"name": self.spec.name, "fingerprint": source.fingerprint, **source.facts},
            "selection": {**spec, "last": None if self.spec.last == float("inf") else self.spec.last},
            "model": {"name": self.model, "sha256": self.model_sha256, "label_set": self.serving.label_set},
            "options": {**asdict(self.files), "min_confidence": self.min_confidence},
        }
        return json.loads(json.dumps(identity))  # type: ignore[no-any-return]


@dataclass
class Part:
    """What is known of a chunk: a line for each frame, in order. is_done: whether nothing is missing.

    taken: names that frames of other chunks have. is_given_up: whether it ended each worker that had it in hand.
    """

    lines: list[dict[str, object]] = field(default_factory=list)
    is_done: bool = False
    backend: str = ""
    taken: list[str] = field(default_factory=list)
    is_given_up: bool = False

    @classmethod
    def read(cls, store: Store, index: int) -> Part:
        """What an earlier run has left, or an empty one."""
        content = store.read(part_name(index))
        return cls() if content is None else cls(**json.loads(content))

    def write(self, store: Store, index: int) -> None:
        """Raises StoreError."""
        store.write(part_name(index), json.dumps(asdict(self)).encode())


def part_name(index: int) -> str:
    """Of the file of a chunk's part."""
    return f"{PARTS}/{index:06d}.json"


def segment_chunk(
    job: Job, index: int, on_frame: Callable[[], object] = lambda: None, source: Source | None = None
) -> Part:
    """Segment what is missing of a chunk and write its frames' files and its part. Returns the part, done.

    Done again, it does nothing; interrupted at any moment, it can be done again. Frames that cannot be read are lines
    with an `error`. on_frame: called for each frame. source: the job's, where it is open already. Raises StoreError
    where results cannot be written, BackendError where the model cannot run, ConfigurationError where source or model
    are others than the job's, and with `strict` FrameError for the first broken frame.
    """
    store = job.store
    part = Part.read(store, index)
    if part.is_done:
        return part
    with _one_at_a_time:
        source = source or known_source(job.spec, job.fingerprint)
        segmenter = known_model(job.model, job.serving)
        if segmenter.backend.model_sha256 != job.model_sha256:
            raise ConfigurationError(f"model '{job.model}' is another one on this worker: give all the same file")
        part.backend = segmenter.backend.name
        _Chunk(job, store, index, part, on_frame).run(source, segmenter)
    return part


class _Chunk:
    """A chunk under way."""

    def __init__(self, job: Job, store: Store, index: int, part: Part, on_frame: Callable[[], object]) -> None:
        self._job, self._store, self._index, self._part, self._on_frame = job, store, index, part, on_frame
        part.lines = [line for line in part.lines if "error" in line or is_whole(store, line)]
        self._names = {line["name"] for line in part.lines}
        self._under_way: deque[Future[dict[str, object]]] = deque()
        self._saved = time.monotonic()

    def run(self, source: Source, segmenter: Segmenter) -> None:
        order: dict[object, int] = {}
        with ThreadPoolExecutor(_WRITERS) as pool:
            try:
                for found in self._items(source):
                    item = self._named(found, order)
                    order[item.name] = len(order)
                    if item.name in self._names:
                        continue
                    self._names.add(item.name)
                    self._under_way.append(pool.submit(self._line(item, segmenter)))
                    self._take(_WRITERS)
                self._take(0)
            except BaseException:
                self._keep()
                raise
        self._part.lines.sort(key=lambda line: order.get(line["name"], len(order)))
        self._part.is_done = True
        self._part.write(self._store, self._index)

    def _named(self, item: Item | Broken, earlier: Collection[object]) -> Item | Broken:
        """With a name that no earlier frame has: it would take that one's files, as where stamps repeat."""
        if item.name not in earlier and item.name not in self._part.taken:
            return item
        if item.other_name and item.other_name not in earlier:
            return replace(item, name=item.other_name)
        name = f"{item.name} again, frame {len(earlier)} of chunk {self._index}"
        if isinstance(item, Broken):
            return replace(item, name=name)
        return Broken(name, f"a frame before it is called '{item.name}', too")

    def _items(self, source: Source) -> Iterator[Item | Broken]:
        """The source's; what ends a chunk early is a broken frame of it."""
        try:
            yield from source.items(source.chunks[self._index])
        except FrameError as error:
            yield Broken(f"chunk {self._index}", str(error))

    def _line(self, item: Item | Broken, segmenter: Segmenter) -> Callable[[], dict[str, object]]:
        """Segment a frame; returns what writes its files and answers with its line."""
        if isinstance(item, Broken):
            return self._broken(item.name, item.error, item.is_fault)
        try:
            frame = item.read()
        except FrameError as error:
            return self._broken(item.name, str(error))
        except Exception as error:  # as in the node: whatever a damaged message raises costs its frame, which is named
            return self._broken(item.name, f"{type(error).__name__}: {error}")
        segmentation = segmenter.segment(frame, with_confidence=True, min_confidence=self._job.min_confidence)
        return lambda: self._job.files.write(self._store, item, segmentation)

    def _broken(self, name: str, error: str, is_fault: bool = True) -> Callable[[], dict[str, object]]:
        if self._job.strict and is_fault:
            raise FrameError(f"frame '{name}' of '{self._job.spec.path}': {error}")
        return lambda: {"name": name, "error": error, "fault": is_fault}

    def _take(self, left: int) -> None:
        """Wait until at most so many frames are being written; note the others, in order."""
        while len(self._under_way) > left:
            self._part.lines.append(self._under_way.popleft().result())
            self._on_frame()
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self._part.write(self._store, self._index)
            self._saved = time.monotonic()

    def _keep(self) -> None:
        """Note what was written before an interruption, where that can be done."""
        self._part.lines += [future.result() for future in self._under_way if future.exception() is None]
        with suppress(AsymformerError):  # what interrupted is told
            self._part.write(self._store, self._index)


@lru_cache(maxsize=2)
def known_source(spec: SourceSpec, fingerprint: str) -> Source:
    """A source that this process reads from, opened once.

    Raises as `open_source`, and ConfigurationError where its fingerprint is another.
    """
    source = open_source(spec)
    if source.fingerprint != fingerprint:
        raise ConfigurationError(f"'{spec.path}' is another recording on this worker: give all the same files")
    return source


@lru_cache(maxsize=1)
def known_model(model: str, serving: ServingOptions) -> Segmenter:
    """The model that this process segments with, opened once. Raises as `open_serving`."""
    return Segmenter(open_serving(model, serving))
