"""The page of what `asymformer segment` has left in a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asymformer_ros.datasets import open_data_set
from asymformer_ros.datasets.labelled import DataSet
from asymformer_ros.datasets.unlabelled import SourceSpec, open_source
from asymformer_ros.datasets.unlabelled.source import Item
from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.evaluation.confusion import ConfusionMatrix
from asymformer_ros.evaluation.page.html import Page
from asymformer_ros.evaluation.page.shown import ShownFrame, shown, small_frame, spread, worst_and_spread
from asymformer_ros.evaluation.recordings.results import CLASSES, MANIFEST, SUMMARY
from asymformer_ros.evaluation.recordings.store import Store
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import read_labels, read_rgb
from asymformer_ros.models.labels import LabelSet, label_set, read_label_set
from asymformer_ros.system.files import parse_object

_log = logging.getLogger(__name__)

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Sources:
    """Where camera, depth and truth are. recording: "" for what the manifest names. data: a labelled data set, or None.

    classes: name or .json file of a label set, "" for the results' own.
    """

    recording: str = ""
    data: Path | None = None
    split: str = "test"
    classes: str = ""


def results_page(store: Store, sources: Sources, most: int, tell: Callable[[], object] = lambda: None) -> Page:
    """A page of at most `most` frames. tell: called for each frame that is read.

    Raises ConfigurationError where the store holds no results of `asymformer segment`, FrameError or StoreError where
    what is in it cannot be read. A recording that is not there any more is a warning: the page has no camera then.
    """
    lines, manifest = _lines(store), _manifest(store)
    broken = sum("error" in line for line in lines)
    lines = [line for line in lines if "error" not in line]
    classes = _label_set(store, lines, sources.classes)
    truth = _truth(sources, lines)
    counts, scores = (None, [None] * len(lines)) if truth is None else _scored(store, lines, truth, classes)
    accuracies = [None if one is None else one[0] for one in scores]
    chosen = spread(len(lines), most) if truth is None else worst_and_spread(accuracies, most)
    frames = _read_frames(sources, manifest, {str(lines[at]["name"]) for at in chosen})
    found: list[ShownFrame] = []
    for at in chosen:
        name = str(lines[at]["name"])
        frame = frames.pop(name, None) or (truth.frame(name) if truth else None)
        labels = _labels(store, lines[at])
        overlay = None if frame is not None else _overlay(store, lines[at])
        true = truth.labels(name) if truth else None
        found.append(shown(name, labels, frame, true, overlay, scores[at] or (None, None)))
        tell()
    facts = _facts(manifest, len(lines), broken)
    root = store.root
    title = root.resolve().name if isinstance(root, Path) else root.name
    return Page(title, classes, found, len(lines), facts, counts)


def _lines(store: Store) -> list[Line]:
    content = store.read(SUMMARY)
    if content is None:
        raise ConfigurationError(f"'{store.place}' {_lacking(store)}")
    lines = [_parsed(store, SUMMARY, line) for line in content.splitlines() if line.strip()]
    if not all(isinstance(line.get("name"), str) for line in lines):
        raise ConfigurationError(f"'{store.root / SUMMARY}' is damaged: expected an object with a name in each line")
    if all("error" in line for line in lines):
        raise FrameError(f"'{store.place}' holds no frame that was segmented")
    return lines


def _lacking(store: Store) -> str:
    """Why there is no summary, and what to do."""
    root = store.root
    inside = sorted(str(one) for one in root.iterdir() if (one / SUMMARY).is_file()) if root.is_dir() else []
    if inside:
        return f"holds the results of several recordings: give one of them: {', '.join(inside)}"
    if store.read(MANIFEST) is not None:
        return "is not finished: the same `asymformer segment` goes on with it"
    return f"holds no results: expected a folder that `asymformer segment` has finished, with its {SUMMARY}"


def _manifest(store: Store) -> Mapping[str, Any]:
    """{} where there is none: a page can do without it."""
    content = store.read(MANIFEST)
    return {} if content is None else _parsed(store, MANIFEST, content)


def _label_set(store: Store, lines: Sequence[Line], chosen: str) -> LabelSet:
    """The results' own; where there is no file of it, the one that they name."""
    if chosen:
        return read_label_set(chosen)
    content = store.read(CLASSES)
    if content is not None:
        return LabelSet.from_json(_parsed(store, CLASSES, content))
    return label_set(str(lines[0].get("label_set", "")))


def _parsed(store: Store, name: str, content: bytes) -> Mapping[str, Any]:
    """A JSON object in a file. Raises ConfigurationError where it is none."""
    try:
        return parse_object(content.decode())
    except ValueError as error:
        raise ConfigurationError(f"'{store.root / name}' is damaged: {error}") from error


def _inside(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of the manifest, {} where it is not there. Raises ConfigurationError where it is something else."""
    found = holder.get(name) or {}
    if not isinstance(found, dict):
        raise ConfigurationError(f"'{MANIFEST}' is damaged: '{name}' is {found!r}, expected an object")
    return found


@dataclass(frozen=True)
class _Truth:
    data: DataSet
    index: Mapping[str, int]

    def labels(self, name: str) -> Any:
        return self.data[self.index[name]].labels if name in self.index else None

    def frame(self, name: str) -> RgbdFrame | None:
        return self.data[self.index[name]].frame if name in self.index else None


def _truth(sources: Sources, lines: Sequence[Line]) -> _Truth | None:
    if sources.data is None:
        return None
    data = open_data_set(sources.data, sources.split)
    truth = _Truth(data, {name: at for at, name in enumerate(data.frame_names)})
    if not any(line["name"] in truth.index for line in lines):
        raise ConfigurationError(
            f"no frame of these results is one of {data.name}, {sources.split}: they have names such as "
            f"'{lines[0]['name']}', it has '{data.frame_names[0]}'"
        )
    return truth


def _scored(store: Store, lines: Sequence[Line], truth: _Truth, classes: LabelSet) -> tuple[Any, list[Any]]:
    """Counts of all frames together, and pixel accuracy and mean IoU of each, None where it has no truth."""
    if len(truth.data.label_set) != len(classes):
        raise ConfigurationError(
            f"these results have {len(classes)} classes ({classes.name}) and the data set "
            f"{len(truth.data.label_set)}: give a data set of the same classes"
        )
    whole, scores = ConfusionMatrix(len(classes)), []
    for line in lines:
        true, one = truth.labels(str(line["name"])), ConfusionMatrix(len(classes))
        if true is not None:
            one.add(true, _labels(store, line))
            whole.counts += one.counts
        known = one.scores() if one.counts.any() else None
        scores.append(None if known is None else (known.pixel_accuracy, known.mean_iou_present))
    return whole.counts, scores


def _labels(store: Store, line: Line) -> Any:
    """(H, W) uint8."""
    path = store.root / str(line.get("labels", f"labels/{line['name']}.png"))
    if not path.is_file():
        raise FrameError(f"'{path}' does not exist, though {SUMMARY} names it: segment again into an empty folder")
    return read_labels(path)


def _overlay(store: Store, line: Line) -> Any:
    path = store.root / str(line.get("overlay", f"overlay/{line['name']}.jpg"))
    return read_rgb(path) if path.is_file() else None


def _read_frames(sources: Sources, manifest: Mapping[str, Any], names: set[str]) -> dict[str, RgbdFrame]:
    """Camera and depth of these frames, by name, small, as far as they can still be had."""
    spec = _spec(sources, manifest)
    if spec is None:
        if sources.data is None:
            _log.warning("the recording is not known: the page has no camera and no depth; --input names it")
        return {}
    found: dict[str, RgbdFrame] = {}
    try:
        source = open_source(spec)
        for chunk in source.chunks:
            for item in source.items(chunk):
                if isinstance(item, Item) and (wanted := {item.name, item.other_name} & (names - found.keys())):
                    found[wanted.pop()] = small_frame(item.read())
            if len(found) == len(names):
                break
    except AsymformerError as error:
        _log.warning("the page lacks camera and depth of %d frames: %s", len(names) - len(found), error)
    return found


def _spec(sources: Sources, manifest: Mapping[str, Any]) -> SourceSpec | None:
    known = _inside(manifest, "source")
    path = sources.recording or str(known.get("path", ""))
    if not path:
        return None
    chosen = _inside(_inside(manifest, "identity"), "selection")
    values = {key: chosen[key] for key in ("split", "every", "first", "chunk") if key in chosen}
    if chosen.get("last") is not None:
        values["last"] = chosen["last"]
    try:
        if "topics" in chosen:
            rgb, depth, info = chosen["topics"]
            values["topics"] = str(rgb), str(depth), str(info)
        return SourceSpec(path, "" if sources.recording else str(known.get("depth", "")), **values)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"'{MANIFEST}' is damaged: its selection is {dict(chosen)} ({error})") from error


def _facts(manifest: Mapping[str, Any], frames: int, broken: int) -> dict[str, str]:
    identity, backends = _inside(manifest, "identity"), manifest.get("backends")
    named = {
        "recording": _inside(identity, "input").get("name"),
        "model": _inside(identity, "model").get("name"),
        "run by": ", ".join(map(str, backends)) if isinstance(backends, list) else "",
        "frames": f"{frames}" + (f", and {broken} broken" if broken else ""),
    }
    return {name: str(value) for name, value in named.items() if value}
