"""Folders in the layouts that this package knows: recordings, and labelled data sets, whose labels are not needed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from asymformer_ros.datasets import open_for_check
from asymformer_ros.datasets.files import FileDataSet
from asymformer_ros.datasets.labelled import DataSet
from asymformer_ros.datasets.unlabelled.source import Broken, Item, Source, SourceSpec, chunks_of, fingerprint, selected
from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RgbdRecording


class RecordingSource:
    """A recorded folder."""

    def __init__(self, spec: SourceSpec, folder: Path) -> None:
        self._spec, self._recording = spec, RgbdRecording(folder, with_gaps=True)
        self._chosen = selected(spec, len(self._recording))
        self.chunks = chunks_of(self._chosen)
        self.about = -(-len(self._chosen) // spec.every)
        self.facts = {"kind": "recording", "frames": len(self._recording)}
        self.fingerprint = fingerprint(file for file in sorted(folder.iterdir()) if file.is_file())

    def items(self, chunk: tuple[int, int]) -> Iterator[Item | Broken]:
        """See Source."""
        for number in range(*chunk):
            if (number - self._chosen.start) % self._spec.every == 0:
                color, depth = self._recording.files(number)
                yield Item(
                    color.name[: color.name.index(".color.")],
                    partial(self._recording.__getitem__, number),
                    {"rgb": color.name, "depth": depth.name},
                    self._intrinsics,
                )

    def _intrinsics(self, size: tuple[int, int]) -> Intrinsics:
        known = self._recording.intrinsics
        if (known.height, known.width) != size:
            raise FrameError(f"the camera matrix is for {known.width}x{known.height}, not {size[1]}x{size[0]}")
        return known


class DataSetSource:
    """A split of a labelled data set."""

    def __init__(self, spec: SourceSpec, data: DataSet) -> None:
        self._spec, self._data = spec, data
        self._chosen = selected(spec, len(data))
        self.chunks = chunks_of(self._chosen)
        self.about = -(-len(self._chosen) // spec.every)
        self.facts = {"kind": data.name, "split": spec.split, "frames": len(data)}
        self.fingerprint = data.fingerprint

    def items(self, chunk: tuple[int, int]) -> Iterator[Item | Broken]:
        """See Source."""
        for number in range(*chunk):
            if (number - self._chosen.start) % self._spec.every == 0:
                yield Item(self._data.frame_names[number], partial(self._frame, number))

    def _frame(self, number: int) -> RgbdFrame:
        if isinstance(self._data, FileDataSet):
            return self._data.frame(number)
        return self._data[number].frame


def folder_source(spec: SourceSpec, folder: Path) -> Source:
    """A recording, or else a split of a data set. Raises ConfigurationError where it is neither."""
    if next(folder.glob("frame-*.color.*"), None) is not None:
        return RecordingSource(spec, folder)
    try:
        return DataSetSource(spec, open_for_check(folder, spec.split))
    except ConfigurationError as error:
        advice = "or frame-NNNNNN.color.jpg with .depth.png; or give --rgb and --depth"
        raise ConfigurationError(f"{error}; {advice}") from error
