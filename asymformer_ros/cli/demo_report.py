"""What the demo tells of the things it has seen: the live line, the closing lines, the picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.frames.panels import Panel, compose, depth_panel

if TYPE_CHECKING:
    from asymformer_ros.msg import SegmentationSummary
    from asymformer_ros.node.demo_viewer import DemoViewer, Moment

OVERLAY_ALPHA = 0.6
"""Weight of the palette in the picture's overlays."""

_CLASSES_SHOWN = 4
_WORTH_SHOWING = 0.01
_SHARES_A_LINE = 7


def live_line(viewer: DemoViewer, width: int) -> str:
    """What is going on, in at most `width` characters: as many classes and details as fit."""
    summary = viewer.summary
    if summary is None:
        return f"waiting for the first segmented frame ({viewer.camera_images} camera images so far)"[:width]
    scores = viewer.scores()
    figures = (
        f"{viewer.seconds:3.0f} s",
        f"{viewer.rate():4.1f} Hz",
        f"age {summary.age_ms:.0f} ms",
        *([f"mIoU {scores.mean_iou_present:.1%}"] if scores else []),
    )
    line = ""
    for details in _details(summary):
        line = " | ".join(filter(None, (*figures, *details)))
        if len(line) <= width:
            break
    return line[:width]


def _details(summary: SegmentationSummary) -> Iterator[tuple[str, ...]]:
    """Classes in view, stage times and backend, from the longest form to the shortest."""
    total = summary.convert_ms + summary.preprocess_ms + summary.inference_ms + summary.postprocess_ms
    brief = f"network {summary.inference_ms:.1f} of {total:.1f} ms"
    stages = (
        f"convert {summary.convert_ms:.1f} + prepare {summary.preprocess_ms:.1f} + network "
        f"{summary.inference_ms:.1f} + post {summary.postprocess_ms:.1f} ms"
    )
    classes = [_in_view(summary, shown) for shown in range(_CLASSES_SHOWN, -1, -1)]
    yield classes[0], stages, summary.backend
    yield classes[0], stages
    for some in classes:
        yield some, brief
    yield (brief,)


def _in_view(summary: SegmentationSummary, shown: int) -> str:
    """The largest classes, and how many more there are."""
    worth = [f"{one.name} {one.pixel_fraction:.0%}" for one in summary.classes if one.pixel_fraction >= _WORTH_SHOWING]
    more = len(summary.classes) - len(worth[:shown])
    return " and ".join(filter(None, (", ".join(worth[:shown]), f"{more} more" if more > 0 else "")))


def closing_lines(viewer: DemoViewer) -> Iterator[str]:
    """What was measured over the whole time."""
    median, slow = np.percentile(viewer.ages, (50, 95))
    yield f"{viewer.segmented} frames segmented, age p50 {median:.0f} ms, p95 {slow:.0f} ms"
    scores = viewer.scores()
    if scores is None:
        return
    yield f"mIoU {scores.mean_iou_present:.1%} over {viewer.compared} frames, against the simulation's truth"
    shares = [f"{name} {iou:.0%}" for name, iou in viewer.class_iou().items()]
    for start in range(0, len(shares), _SHARES_A_LINE):
        yield ("     " if start else "IoU: ") + ", ".join(shares[start : start + _SHARES_A_LINE])


def picture(moment: Moment, caption: str) -> NDArray[np.uint8]:
    """Camera, depth, truth where it is known, and segmentation, with the colours of the classes in view."""
    panels = [Panel(moment.frame.rgb, "camera"), depth_panel(moment.frame.depth)]
    if moment.truth is not None:
        panels.append(Panel(moment.over_camera(moment.truth, OVERLAY_ALPHA), "truth"))
        right = (moment.truth == moment.labels)[moment.truth != UNLABELLED].mean()
        caption += f", right on {right:.0%} of the pixels"
    return compose([*panels, Panel(moment.overlay, caption)], moment.legend())
