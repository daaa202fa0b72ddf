"""Chunks on the workers of a Dask cluster."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from asymformer_ros.errors import AsymformerError, ConfigurationError
from asymformer_ros.evaluation.recordings.job import Job, Part, segment_chunk
from asymformer_ros.evaluation.recordings.store import StoreError
from asymformer_ros.optional import importing

SCHEME = "dask://"
_PATIENCE = 30.0  # seconds for the scheduler to answer
_log = logging.getLogger(__name__)

Task = tuple[Job, int]
"""A chunk of a job."""


def on_cluster(
    address: str, tasks: Iterable[Task], on_frames: Callable[[int], object]
) -> Iterator[tuple[Task, Part | AsymformerError]]:
    """Each chunk and what became of it, as they end, in any order; about as many are under way as there are workers.

    A chunk whose worker is lost is done again elsewhere, up to the scheduler's `allowed-failures` times. address:
    dask://HOST:PORT of the scheduler. on_frames: called with the number of frames of a chunk that is done.
    Raises ConfigurationError where there is no such scheduler, StoreError where results cannot be written.
    """
    with importing("distributed", f"'{address}'"):
        from distributed import Client, as_completed
    if not address.startswith(SCHEME):
        raise ConfigurationError(f"'{address}' is no cluster: expected {SCHEME}HOST:PORT, of a Dask scheduler")
    try:
        client = Client(f"tcp://{address.removeprefix(SCHEME)}", timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"no Dask scheduler answers at '{address}': {error}") from error
    queue, run = iter(tasks), uuid.uuid4().hex
    with client:
        futures: dict[Any, Task] = {}

        def submit(task: Task) -> Any:
            # Not pure: the same chunk of a later run is another task. Each worker has one at a time beside the next.
            key = f"segment-{run}-{len(futures)}-{uuid.uuid4().hex[:8]}"
            future = client.submit(segment_chunk, *task, key=key, pure=False)
            futures[future.key] = task
            return future

        first = [submit(task) for task in itertools.islice(queue, _room(client))]
        ended = as_completed(first)
        for future in ended:
            task = futures.pop(future.key)
            if future.status == "cancelled":  # the scheduler has forgotten it, as when it was started again
                ended.add(submit(task))
                continue
            outcome = _outcome(future)
            if isinstance(outcome, Part):
                on_frames(len(outcome.lines))
            yield task, outcome
            for another in itertools.islice(queue, max(0, _room(client) - len(futures))):
                ended.add(submit(another))


def _room(client: Any) -> int:
    """How many chunks are to be under way: of each worker one, and one."""
    return 1 + len(client.scheduler_info(n_workers=-1)["workers"])


def _outcome(future: Any) -> Part | AsymformerError:
    error = future.exception()
    if error is None:
        return future.result()  # type: ignore[no-any-return]
    if isinstance(error, StoreError):
        raise error
    if isinstance(error, AsymformerError):
        return error
    if type(error).__name__ == "KilledWorker":
        return AsymformerError("each worker that had it in hand has ended: it may take more memory than a worker has")
    raise error
