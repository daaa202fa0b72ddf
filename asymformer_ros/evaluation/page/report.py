"""The page of an evaluation: its scores, and the frames that went worst."""

from __future__ import annotations

from asymformer_ros.datasets import DataSet
from asymformer_ros.evaluation.evaluate import Segments
from asymformer_ros.evaluation.page.html import Page
from asymformer_ros.evaluation.page.shown import ShownFrame, shown, worst_and_spread
from asymformer_ros.evaluation.report import EvaluationReport

PAGE_FILE = "view.html"
_FRAMES = 40


def report_page(report: EvaluationReport, segmenter: Segments, data: DataSet) -> Page:
    """Of the frames that were evaluated, which are the first ones of `data`: 20 of the worst, and 20 others.

    They are segmented once more. Raises FrameError or BackendError where that fails.
    """
    tally = report.evaluation.tally
    chosen = worst_and_spread([frame.pixel_accuracy for frame in tally.frames], _FRAMES)
    facts = {
        "data": f"{report.data}, {report.split}",
        "model": report.model,
        "run by": report.backend,
        "frames": str(report.evaluation.done),
    }
    frames = [_shown(report, segmenter, data, at) for at in chosen]
    title = f"{report.model} on {report.data}"
    return Page(title, report.label_set, frames, report.evaluation.done, facts, tally.confusion.counts)


def _shown(report: EvaluationReport, segmenter: Segments, data: DataSet, at: int) -> ShownFrame:
    labelled, score = data[at], report.evaluation.tally.frames[at]
    labels = segmenter.segment(labelled.frame).labels
    scores = (score.pixel_accuracy, score.mean_iou)
    return shown(score.name, labels, labelled.frame, labelled.labels, scores=scores)
