"""An evaluation that was interrupted, to go on with."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from asymformer_ros.errors import AsymformerError
from asymformer_ros.evaluation.evaluate import Evaluation
from asymformer_ros.evaluation.tally import Tally
from asymformer_ros.system.files import parse_json, write_atomically

PROGRESS_FILE = "progress.json"
_EVERY = 30.0  # seconds
_log = logging.getLogger(__name__)


class Progress:
    """Counts of an evaluation in a file of the report's folder, until the report is written.

    identity: of what is evaluated, on what and how, JSON-ready: counts of anything else are not gone on with.
    """

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        self._path, self._identity = folder / PROGRESS_FILE, json.loads(json.dumps(identity))
        self._saved = time.monotonic()

    def resume(self, evaluation: Evaluation, frames: int) -> None:
        """Take over what an interrupted run has counted, where it was the same and at most these many frames."""
        if not self._path.is_file():
            return
        try:
            data = parse_json(self._path.read_text(encoding="utf-8"))
            different = [key for key in self._identity if data["identity"].get(key) != self._identity[key]]
            classes = evaluation.num_classes
            tallies = {name: Tally.from_json(data["tallies"][name], classes) for name in evaluation.tallies}
            done, times = len(next(iter(tallies.values())).frames), [float(one) for one in data["times"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            different, done = ["its file, which is damaged"], 0
        if different or done > frames:
            _log.warning("an interrupted evaluation is dropped, it differs in %s", ", ".join(different) or "--limit")
            return
        evaluation.tallies, evaluation.times = tallies, times
        _log.info("going on behind the first %d frames, which were counted before", done)

    @contextmanager
    def kept(self, evaluation: Evaluation) -> Iterator[None]:
        """Save at the end of the block where it is left by an exception, Ctrl-C and SIGTERM among them."""
        try:
            yield
        except BaseException:
            if evaluation.done and evaluation.is_whole:
                self._save(evaluation)
                _log.info("%d frames are counted: the same command goes on behind them", evaluation.done)
            raise

    def save_now_and_then(self, evaluation: Evaluation) -> None:
        """Save where the last time is half a minute ago. Raises AsymformerError where that cannot be written."""
        if time.monotonic() - self._saved > _EVERY:
            self._save(evaluation)

    def remove(self) -> None:
        """It is finished."""
        self._path.unlink(missing_ok=True)

    def _save(self, evaluation: Evaluation) -> None:
        tallies = {name: tally.to_json() for name, tally in evaluation.tallies.items()}
        content = {"identity": self._identity, "times": evaluation.times, "tallies": tallies}
        try:
            write_atomically(self._path, json.dumps(content).encode())
        except OSError as error:
            raise AsymformerError(f"cannot write '{self._path}': {error.strerror}") from error
        self._saved = time.monotonic()
