"""What a model says of a recording that has no labels: classes, confidence, and how much it flickers, smoothed and not.

python benchmarks/recorded.py demo ../shared/data/kitchen_sequence -o labels.png
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import asymformer_ros
from asymformer_ros.frames.images import write_png
from asymformer_ros.frames.panels import Panel, compose
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.inference.segmentation import Segmentation
from asymformer_ros.models.labels import LabelSet

_SHOWN = 3  # frames of the picture
_WORTH_SHOWING = 0.005  # share of all pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="bundle, .onnx file or known name")
    parser.add_argument("folder", type=Path, help="recorded folder")
    parser.add_argument("-o", "--output", type=Path, help="picture of the labels of three frames, in the palette")
    args = parser.parse_args()
    with asymformer_ros.load(args.model) as segmenter:
        found = [segmenter.segment(frame, with_confidence=True) for frame in RgbdRecording(args.folder)]
        stream = asymformer_ros.TemporalSmoothing()
        smooth = [segmenter.segment(one.frame, smoothing=stream).labels for one in found]
    label_set = found[0].label_set
    print("\n".join(_table(found, label_set)))
    print(f"of smoothed labels {_flicker(smooth):.1%} change")
    if args.output:
        write_png(args.output, _picture(found, label_set))
        print(f"wrote {args.output}")


def _table(found: list[Segmentation], label_set: LabelSet) -> Iterator[str]:
    labels = np.stack([one.labels for one in found])
    confidence = np.stack([one.confidence for one in found if one.confidence is not None]) / 255
    yield f"{'class':16}{'pixels':>8}{'confidence':>12}"
    for label, share in _shares(labels):
        yield f"{label_set.names[label]:16}{share:>8.1%}{confidence[labels == label].mean():>12.2f}"
    change = f"{_flicker(labels):.1%} of the labels change from frame to frame"
    yield f"{len(found)} frames, mean confidence {confidence.mean():.2f}; {change}"


def _flicker(labels: Iterable[NDArray[np.uint8]]) -> float:
    """Share of the pixels that have another label in the next frame."""
    return float(np.mean([(before != after).mean() for before, after in pairwise(labels)]))


def _shares(labels: NDArray[np.uint8]) -> list[tuple[int, float]]:
    """Label and share of each class that is worth showing, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=256) / labels.size
    return [(int(label), float(counts[label])) for label in np.argsort(-counts) if counts[label] > _WORTH_SHOWING]


def _picture(found: list[Segmentation], label_set: LabelSet) -> NDArray[np.uint8]:
    chosen = np.linspace(0, len(found) - 1, _SHOWN).round().astype(int)
    panels = [Panel(label_set.colorize(found[at].labels)[::2, ::2], f"frame {at}") for at in chosen]
    labels = np.stack([found[at].labels for at in chosen])
    return compose(panels, [(label_set.names[label], label_set.colors[label]) for label, _ in _shares(labels)])


if __name__ == "__main__":
    main()
