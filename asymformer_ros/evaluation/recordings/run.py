"""Recordings through a model, here or on a cluster, and what became of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from asymformer_ros.datasets.unlabelled import Source, open_source
from asymformer_ros.datasets.unlabelled.bag import BagSource
from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.evaluation.recordings.bag import require_no_results, write_bag
from asymformer_ros.evaluation.recordings.fleet import Task, on_cluster
from asymformer_ros.evaluation.recordings.job import PARTS, Job, known_model, segment_chunk
from asymformer_ros.evaluation.recordings.results import Counts, Results
from asymformer_ros.evaluation.recordings.store import StoreError
from asymformer_ros.evaluation.recordings.video import write_video

_ROUNDS = 3  # a worker that was taken for dead may have put its older part in place of a newer one
_log = logging.getLogger(__name__)


class Progress(Protocol):
    """Is told how far it is, in frames."""

    def expect(self, frames: int) -> object:
        """About so many more are to be done."""

    def done(self, frames: int) -> object:
        """So many more are done."""


@dataclass(frozen=True)
class Choices:
    """Where, and what is made of the frames' files at the end. on: dask://HOST:PORT, "" for this process."""

    on: str = ""
    video: bool = False
    bag: bool = False
    strict: bool = False


@dataclass
class Outcome:
    """Frames of all recordings, and the recordings that could not be segmented, with the reason."""

    counts: list[Counts] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    job: Job
    source: Source
    results: Results


def run(jobs: Sequence[Job], choices: Choices, progress: Progress) -> Outcome:
    """Segment recordings, going on with what an earlier run has left of each.

    A recording that cannot be segmented is named and counted, unless it is the only one or `strict`: then its error is
    raised. Raises StoreError where results cannot be written.
    """
    outcome = Outcome()
    for plan in (_in_cluster if choices.on else _here)(jobs, choices, progress, outcome):
        try:
            outcome.counts.append(_finish(plan, choices))
        except StoreError:
            raise
        except AsymformerError as error:
            _note(error, plan.job, outcome, is_fatal=choices.strict or len(jobs) == 1)
    return outcome


def _here(jobs: Sequence[Job], choices: Choices, progress: Progress, outcome: Outcome) -> Iterator[_Plan]:
    for plan in _plans(jobs, choices, outcome):
        progress.expect(plan.source.about if not plan.results.is_complete else 0)
        for index in plan.results.missing():
            segment_chunk(plan.job, index, lambda: progress.done(1), plan.source)
        yield plan


def _in_cluster(jobs: Sequence[Job], choices: Choices, progress: Progress, outcome: Outcome) -> Iterator[_Plan]:
    """Plans that are done, the chunks of several under way together."""
    left: dict[str, tuple[_Plan, set[int]]] = {}
    whole: list[_Plan] = []

    def tasks() -> Iterator[Task]:
        for plan in _plans(jobs, choices, outcome):
            missing = plan.results.missing()
            if not missing:
                whole.append(plan)
                continue
            progress.expect(plan.source.about)
            left[plan.job.place] = (plan, set(missing))
            yield from ((plan.job, index) for index in missing)

    for (job, index), part in on_cluster(choices.on, tasks(), progress.done):
        plan, missing = left[job.place]
        if isinstance(part, FrameError):
            if choices.strict:
                raise part
            _log.warning("chunk %d of '%s' is given up: %s", index, job.spec.path, part)
            plan.results.give_up(index, str(part))
        missing.discard(index)
        if not missing:
            del left[job.place]
            for _ in range(_ROUNDS):
                for again in plan.results.missing():
                    segment_chunk(job, again, source=plan.source)
            yield plan
    yield from whole


def _plans(jobs: Sequence[Job], choices: Choices, outcome: Outcome) -> Iterator[_Plan]:
    for job in jobs:
        try:
            source = open_source(job.spec)
            if choices.bag:
                if not isinstance(source, BagSource):
                    raise ConfigurationError(f"--bag needs a bag to put results beside, and '{job.spec.path}' is none")
                require_no_results(source, job.spec.path)
            known = replace(job, fingerprint=source.fingerprint)
            results = Results(known, source)
        except StoreError:
            raise
        except AsymformerError as error:
            _note(error, job, outcome, is_fatal=choices.strict or len(jobs) == 1)
        else:
            yield _Plan(known, source, results)


def _note(error: AsymformerError, job: Job, outcome: Outcome, *, is_fatal: bool) -> None:
    if is_fatal:
        raise error
    _log.warning("'%s' is left out: %s", job.spec.path, error)
    outcome.failed.append(job.spec.path)


def _finish(plan: _Plan, choices: Choices) -> Counts:
    classes = known_model(plan.job.model, plan.job.serving).label_set
    counts = plan.results.finish(classes, lambda index: segment_chunk(plan.job, index, source=plan.source))
    if choices.video or choices.bag:
        lines = plan.results.lines()
        if choices.video:
            write_video(plan.job.store, lines, classes)
        if choices.bag and isinstance(plan.source, BagSource):
            write_bag(plan.job, plan.source, lines, classes)
    plan.job.store.remove(PARTS)
    return counts
