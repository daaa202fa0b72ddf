"""The page itself, from a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.evaluation.confusion import ConfusionMatrix, percent
from asymformer_ros.evaluation.page.shown import ShownFrame, packed
from asymformer_ros.evaluation.picture import AXES, shares_picture
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.optional import importing
from asymformer_ros.system.files import write_atomically

with importing("jinja2", "the page"):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

_IN_PLOT = 12  # classes that have a band of their own
_SEEN = 0.0005  # of all pixels: a class with less is not listed


@dataclass(frozen=True)
class Page:
    """What a page shows.

    frames: in their order. total: how many there are, of which `frames` are some. facts: name and value of what it is
    about. counts: of a ConfusionMatrix, None where truth is not known.
    """

    title: str
    label_set: LabelSet
    frames: Sequence[ShownFrame]
    total: int
    facts: dict[str, str] = field(default_factory=dict)
    counts: NDArray[np.int64] | None = None

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError."""
        write_atomically(path, self.html().encode())

    def html(self) -> str:
        """The page: one file that loads nothing."""
        classes = self._classes()
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        largest = [one["label"] for one in classes[:_IN_PLOT]]
        return environment.get_template("page.html").render(
            page=self,
            data={"classes": classes, "frames": packed(self.frames), "axes": AXES},
            plot=shares_picture([frame.shares for frame in self.frames], largest, self.label_set),
            matrix=self._matrix(),
        )

    def _classes(self) -> list[dict[str, Any]]:
        """Those that are seen or true somewhere, largest first."""
        mean = np.zeros(256)
        for frame in self.frames:
            for label, share in frame.shares.items():
                mean[label] += share / len(self.frames)
        true = {int(at) for at in np.flatnonzero(self.counts.sum(axis=1))} if self.counts is not None else set()
        labels = [int(at) for at in np.argsort(-mean, kind="stable") if mean[at] >= _SEEN or int(at) in true]
        return [
            {
                "label": at,
                "name": self.label_set.names[at],
                "color": list(self.label_set.colors[at]),
                "share": round(float(mean[at]), 4),
            }
            for at in labels
            if at < len(self.label_set)
        ]

    def _matrix(self) -> dict[str, Any] | None:
        """Of the classes that are true or predicted: rows of shares of the true class, and the scores."""
        if self.counts is None or not self.counts.any():
            return None
        confusion = ConfusionMatrix(len(self.label_set))
        confusion.counts = self.counts
        scores, true = confusion.scores(), self.counts.sum(axis=1)
        occurs = [int(at) for at in np.flatnonzero((true > 0) | (self.counts[:, :-1].sum(axis=0) > 0))]
        rows = []
        for at in occurs:
            shares = self.counts[at] / max(1, true[at])
            cells = [float(shares[other]) for other in occurs]
            iou = scores.class_iou[at]
            rows.append(
                {"name": self.label_set.names[at], "cells": cells, "pixels": int(true[at]), "iou": percent(iou)}
            )
        return {
            "names": [self.label_set.names[at] for at in occurs],
            "rows": rows,
            "scores": {
                "mean IoU": percent(scores.mean_iou),
                "of classes in the data": percent(scores.mean_iou_present),
                "mean accuracy": percent(scores.mean_accuracy),
                "pixel accuracy": percent(scores.pixel_accuracy),
            },
        }
