"""Chunks on the workers of a Dask cluster."""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from asymformer_ros.errors import AsymformerError, ConfigurationError, FrameError
from asymformer_ros.evaluation.recordings.job import Job, Part, segment_chunk
from asymformer_ros.optional import importing

SCHEME = "dask://"
_PATIENCE = 30.0  # seconds for the scheduler to answer

Task = tuple[Job, int]
"""A chunk of a job."""


def on_cluster(
    address: str, tasks: Iterable[Task], on_frames: Callable[[int], object]
) -> Iterator[tuple[Task, Part | FrameError]]:
    """Each chunk and what became of it, as they end, in any order; about as many are under way as there are workers.

    A chunk whose worker is lost is done again elsewhere, up to the scheduler's `allowed-failures` times. address:
    dask://HOST:PORT of the scheduler. on_frames: called with the number of frames of a chunk that is done.
    FrameError stands for a chunk that cannot be read or that ends every worker; whatever else a worker cannot do is its
    set-up's and is raised. Raises ConfigurationError where there is no such scheduler, StoreError where results cannot
    be written.
    """
    with importing("distributed", f"'{address}'"):
        from distributed import Client, as_completed
    if not address.startswith(SCHEME):
        raise ConfigurationError(f"'{address}' is no cluster: expected {SCHEME}HOST:PORT, of a Dask scheduler")
    try:
        client = Client(f"tcp://{address.removeprefix(SCHEME)}", timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"no Dask scheduler answers at '{address}': {error}") from error
    queue = iter(tasks)
    with client:
        _require_worker(client, address)
        futures: dict[Any, Task] = {}

        def submit(task: Task) -> Any:
            # Not pure: the same chunk of a later run is another task.
            future = client.submit(_attempt, *task, pure=False)
            futures[future.key] = task
            return future

        first = [submit(task) for task in itertools.islice(queue, _room(client))]
        ended = as_completed(first, loop=client.loop)
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


def _require_worker(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise ConfigurationError(f"the scheduler at '{address}' has no worker: start `dask worker` with it") from error


def _room(client: Any) -> int:
    """How many chunks are to be under way: of each worker one, and one."""
    return 1 + len(client.scheduler_info(n_workers=-1)["workers"])


def _attempt(job: Job, index: int) -> Part | Exception:
    """On a worker: the chunk, or what was raised, as an answer; not every version carries it over as an error."""
    try:
        return segment_chunk(job, index)
    except AsymformerError as error:
        return error
    except Exception:
        return RuntimeError(f"a worker has met a defect of this package:\n{traceback.format_exc()}")


def _outcome(future: Any) -> Part | FrameError:
    if future.status == "error":  # of Dask itself
        error = future.exception()
        if type(error).__name__ != "KilledWorker":
            raise error
        return FrameError("each worker that had it in hand has ended: it may take more memory than a worker has")
    answer = future.result()
    if isinstance(answer, (Part, FrameError)):
        return answer
    if isinstance(answer, AsymformerError):
        raise type(answer)(f"on a worker: {answer}") from answer
    raise answer
