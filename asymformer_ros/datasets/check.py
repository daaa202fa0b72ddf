"""Looks for what is wrong with a data set, frame by frame; what is broken does not end it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.labelled import DataSet, LabelledFrame
from asymformer_ros.datasets.official import are_of_nyuv2, official_split
from asymformer_ros.errors import FrameError
from asymformer_ros.frames.frame import UNLABELLED

_LIKELY = (0.2, 20.0)  # metres that the median of an indoor image's depth is within
_OFFICIAL = {
    ("nyuv2_40", "train"): 795,
    ("nyuv2_40", "test"): 654,
    ("sunrgbd_37", "train"): 5285,
    ("sunrgbd_37", "test"): 5050,
}


@dataclass
class SplitCheck:
    """What the frames of one split hold, and the problems of single frames, by name."""

    data: DataSet
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    unknown_depth: int = 0
    colours: dict[bytes, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def run(self) -> Iterator[str]:
        """Read frame by frame; gives the name of each."""
        names = Counter(self.data.frame_names)
        self.problems += [f"{name}: is listed {count} times" for name, count in names.items() if count > 1]
        for index, name in enumerate(self.data.frame_names):
            try:
                self._look(name, self.data[index])
            except FrameError as error:
                self.problems.append(f"{name}: {error}")
            yield name

    def strangers(self, split: str) -> Iterator[str]:
        """A line for each frame that NYUv2's authors have in the other split."""
        names = list(self.data.frame_names)
        if self.data.label_set.name == "nyuv2_40" and are_of_nyuv2(names):
            wrong = (name for name in names if official_split(int(name)) != split)
            yield from (f"{name}: is in the other one of NYUv2's official splits" for name in wrong)

    def summary(self, split: str) -> Iterator[str]:
        """Lines about the split as a whole."""
        total, read = int(self.pixels.sum()), sum(self.sizes.values())
        official = _OFFICIAL.get((self.data.label_set.name, split))
        told = f" (the official split has {official})" if official not in (None, len(self.data)) else ""
        yield f"{split}: {len(self.data)} frames{told}, {read} can be read"
        if not total:
            return
        yield f"  sizes: {', '.join(f'{w}x{h} ({n})' for (h, w), n in self.sizes.most_common())}"
        yield f"  void {self.pixels[UNLABELLED] / total:.1%}, depth unknown {self.unknown_depth / total:.1%}"
        absent = [name for index, name in enumerate(self.data.label_set.names) if not self.pixels[index]]
        yield f"  classes that do not occur: {', '.join(absent) or 'none'}"

    def _look(self, name: str, labelled: LabelledFrame) -> None:
        depth = labelled.frame.depth
        known = depth[np.isfinite(depth)]
        counts = np.bincount(labelled.labels.ravel(), minlength=256)
        self.sizes[labelled.frame.size] += 1
        self.pixels += counts
        self.unknown_depth += depth.size - known.size
        if counts[UNLABELLED] == depth.size:
            self.problems.append(f"{name}: no pixel has a class")
        if not known.size:
            self.problems.append(f"{name}: depth is unknown everywhere")
        elif not _LIKELY[0] <= (median := float(np.median(known))) <= _LIKELY[1]:
            self.problems.append(f"{name}: the median of depth is {median:.3g} m: another unit?")
        content = hashlib.sha256(labelled.frame.rgb.tobytes()).digest()
        if content in self.colours:
            self.problems.append(f"{name}: has the colour image of {self.colours[content]}")
        self.colours.setdefault(content, name)


def overlap(checks: Mapping[str, SplitCheck]) -> Iterator[str]:
    """A line for each colour image that more than one split holds."""
    first, *others = checks.items()
    for split, check in others:
        for content in first[1].colours.keys() & check.colours.keys():
            yield f"{split} {check.colours[content]}: has the colour image of {first[0]} {first[1].colours[content]}"
