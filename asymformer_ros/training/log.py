"""What a training tells: a progress bar, a line for each epoch in a file, curves and pictures for TensorBoard."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from asymformer_ros.frames.overlay import blend
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.system.files import write_atomically
from asymformer_ros.training.augment import Sample
from asymformer_ros.training.state import BOARD, LOG
from asymformer_ros.training.trainer import Step

SCORES = ("mean_iou", "mean_iou_present", "mean_accuracy", "pixel_accuracy")
"""What an epoch's line holds of `Scores`, beside the IoU of each class."""

_CURVE_EVERY = 10  # steps
_OPACITY = 0.6
_TOLD_EVERY = 60.0  # seconds, where the output is no terminal


class TrainingLog:
    """Of one run of a training in a folder, from a step and an epoch on; what was told of later ones goes away."""

    def __init__(self, folder: Path, step: int, epoch: int) -> None:
        self._log = folder / LOG
        write_atomically(self._log, "".join(f"{line}\n" for line in _lines_until(self._log, epoch)).encode())
        self._board = SummaryWriter(str(folder / BOARD), purge_step=step)
        self._live = sys.stderr.isatty()
        self._next_line = time.monotonic() + _TOLD_EVERY

    def begin_epoch(self, epoch: int, epochs: int, done: int, steps: int) -> None:
        title = f"epoch {epoch}/{epochs}"
        self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", leave=False, disable=not self._live)
        self._title, self._steps, self._done = title, steps, done

    def step(self, number: int, step: Step, images_per_second: float) -> None:
        """Tell of the step of this number, counted over all epochs."""
        text = f"loss {step.loss:.3f} lr {step.learning_rate:.2e} {images_per_second:.1f} images/s"
        self._done += 1
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()
        if not self._live and time.monotonic() >= self._next_line:
            self.info(f"{self._title}, step {self._done}/{self._steps}: {text}")
            self._next_line = time.monotonic() + _TOLD_EVERY
        if number % _CURVE_EVERY == 0:
            self._board.add_scalar("train/loss", step.loss, number)
            self._board.add_scalar("train/learning_rate", step.learning_rate, number)

    def end_epoch(self) -> None:
        self._bar.close()

    def info(self, text: str) -> None:
        """A line for people; a terminal that is gone is no error."""
        with suppress(OSError):
            tqdm.write(text, file=sys.stderr)

    def epoch(self, step: int, line: Mapping[str, object]) -> None:
        """The numbers of one epoch."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for key in SCORES:
            self._board.add_scalar(f"test/{key}", line[key], step)
        self._board.add_scalar("train/images_per_second", line["images_per_second"], step)
        self._board.flush()

    def images(self, step: int, label_set: LabelSet, examples: Sequence[tuple[Sample, NDArray[np.uint8]]]) -> None:
        """Colour image, truth and prediction of some frames, side by side."""
        for number, (sample, predicted) in enumerate(examples):
            truth, guess = (
                blend(sample.rgb, label_set.colorize(labels), labels, _OPACITY)
                for labels in (np.ascontiguousarray(sample.labels), predicted)
            )
            self._board.add_image(f"test/{number}", np.hstack((sample.rgb, truth, guess)), step, dataformats="HWC")

    def close(self) -> None:
        self._board.close()


class SilentLog(TrainingLog):
    """Of the processes beside the first one, which alone tells."""

    def __init__(self) -> None:
        pass

    def begin_epoch(self, epoch: int, epochs: int, done: int, steps: int) -> None:
        pass

    def step(self, number: int, step: Step, images_per_second: float) -> None:
        pass

    def end_epoch(self) -> None:
        pass

    def info(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


def _lines_until(log: Path, epoch: int) -> Iterator[str]:
    """The lines of the epochs up to this one; half a line is left of a process that was killed while it wrote."""
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            known: bool = json.loads(line)["epoch"] <= epoch
        except ValueError:
            continue
        if known:
            yield line
