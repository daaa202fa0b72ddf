"""The pictures of a report and of a page: confusion matrix, reliability, shares of classes over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.evaluation.calibration import BINS, Reliability
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.optional import importing

with importing("matplotlib", "an evaluation report"):
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

_INCHES_PER_CLASS = 0.22
_INCHES_BESIDE = 2.5


def confusion_picture(counts: NDArray[np.int64], label_set: LabelSet) -> bytes:
    """PNG of the shares of each true class (row) that were predicted to be each class (column).

    counts: as of ConfusionMatrix. Classes that are neither true nor predicted anywhere are left out.
    """
    true = counts.sum(axis=1)
    occurs = np.flatnonzero((true > 0) | (counts[:, :-1].sum(axis=0) > 0))
    shares = counts[np.ix_(occurs, occurs)] / np.maximum(true[occurs], 1)[:, None]
    names = [label_set.names[index] for index in occurs]
    side = _INCHES_BESIDE + _INCHES_PER_CLASS * len(names)
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    figure.colorbar(image, label="share of the true class", shrink=0.6)
    return _png(figure)


def reliability_picture(reliability: Reliability) -> bytes:
    """PNG of the accuracy of pixels by their confidence, above how many there are of each."""
    bins = reliability.bins()
    confidence, accuracy, share = ([getattr(one, name) for one in bins] for name in ("confidence", "accuracy", "share"))
    figure = Figure(figsize=(5, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle="--", label="calibrated")
    upper.plot(confidence, accuracy, marker="o", label=f"ECE {(reliability.ece or 0) * 100:.1f} %")
    upper.set(ylabel="pixels that are right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(loc="upper left")
    lower.bar(confidence, share, width=0.8 / BINS)
    lower.set(xlabel="confidence", ylabel="pixels")
    return _png(figure)


AXES = (0.045, 0.995, 0.03, 0.79)
"""Left, right, top and bottom of the axes of `shares_picture`, in shares of its size from the upper left."""


def shares_picture(shares: Sequence[Mapping[int, float]], labels: Sequence[int], label_set: LabelSet) -> str:
    """An svg element of each frame's shares by class, 0..1, one band over the other.

    labels: the classes that have a band, an element with the id class-LABEL; the others have a white one together.
    """
    if len(shares) == 1:  # a band has a width
        shares = [*shares, *shares]
    at = np.arange(1, len(shares) + 1)
    bands = np.array([[frame.get(label, 0.0) for frame in shares] for label in labels]).reshape(len(labels), len(at))
    rest = np.array([sum(frame.values()) for frame in shares]) - bands.sum(axis=0)
    colors = [tuple(part / 255 for part in label_set.colors[label]) for label in labels]
    left, right, top, bottom = AXES
    figure = Figure(figsize=(14, 2.6))
    axes = figure.add_axes((left, 1 - bottom, right - left, bottom - top), xlim=(1, len(at)), ylim=(0, 1))
    axes.set_xlabel("frame")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, prune="upper"))
    for label, band in zip((*labels, "rest"), axes.stackplot(at, *bands, rest, colors=[*colors, "1.0"]), strict=True):
        band.set_gid(f"class-{label}")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "asymformer"}):
        file = BytesIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    text = file.getvalue().decode()
    return text[text.index("<svg") :]


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()
