"""A whole training in a folder: begun, stopped, continued, finished."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.confusion import Scores
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.network import AsymFormer
from asymformer_ros.training.augment import ViewSize
from asymformer_ros.training.average import averaged_copy
from asymformer_ros.training.batches import Augmentation, Batch, augmented_batches, telling_lost_workers
from asymformer_ros.training.evaluate import Evaluator
from asymformer_ros.training.frames import BatchSampler, Frames, Mixture, evenly_spaced
from asymformer_ros.training.log import SCORES, SilentLog, TrainingLog
from asymformer_ros.training.loss import BalancedLoss, balance_weights
from asymformer_ros.training.plan import Plan, Resources
from asymformer_ros.training.schedule import learning_rate
from asymformer_ros.training.state import MODEL, Progress, Saved, load_state, require_same_settings, save_state
from asymformer_ros.training.stop import Stop
from asymformer_ros.training.trainer import Trainer

_SAVE_EVERY = 180.0  # seconds
_BALANCE_FRAMES = 2000
_PICTURES = 4


def train(
    plan: Plan,
    network: AsymFormer,
    splits: tuple[Frames, Frames],
    folder: Path,
    resources: Resources,
    teacher: ModelBundle | None = None,
) -> int:
    """Train on the first split, evaluate on the second, in a folder; returns `Stop.exit_code`, 0 where it has ended.

    It continues from the folder's state where there is one. The network is changed in place.
    Raises CheckpointError or ConfigurationError, as `load_state` does, ConfigurationError where the folder cannot be
    written or no training frame has a label, and FrameError where no test frame has one, or a frame cannot be read.
    """
    stop = Stop(resources.minutes)
    run = _Run(plan, network, splits, folder, resources, teacher)
    with telling_lost_workers():
        try:
            with stop.on_signals():
                run.go(stop)
                return stop.exit_code
        finally:
            run.log.close()


class _Run:
    def __init__(
        self,
        plan: Plan,
        network: AsymFormer,
        splits: tuple[Frames, Frames],
        folder: Path,
        resources: Resources,
        teacher: ModelBundle | None,
    ) -> None:
        self._plan, self._folder, self._resources, self._frames = plan, folder, resources, splits[0]
        self._processes = resources.processes
        chosen = evenly_spaced(len(splits[1]), resources.evaluate_limit)
        self._evaluator = Evaluator(splits[1], chosen, plan, resources)
        self._counts = len(self._frames), len(chosen)
        content = {"training": self._frames.content, "test": splits[1].content, "weights": _hash(network)}
        if plan.recipe.teacher.weight:
            content["teacher"] = teacher.sha256[:16] if teacher else "the average"
        self._settings = {**plan.settings(network.config, self._counts), "content": content}
        saved = load_state(folder, self._settings)
        same = {**self._settings, "step": saved.trainer["step"] if saved else 0}
        require_same_settings(self._processes.first_ones(same), same)
        mixture = Mixture.of(self._frames.counts, plan.recipe.batch_size, plan.recipe.share)
        self._sampler = BatchSampler(mixture, plan.recipe.batch_size, plan.recipe.epochs, plan.seed)
        self._processes.require_enough(self._sampler.batch_size, plan.recipe.accumulate)
        self._progress = saved.progress if saved else Progress()
        self.log = self._open_log(saved.trainer["step"] if saved else 0)
        self._trainer = Trainer(
            network.to(resources.device), plan, self._loss(), self._sampler.steps_per_epoch, teacher, self._processes
        )
        if saved:
            self._trainer.resume(saved.trainer)
            self.log.info(f"continues at step {self._trainer.step} of {self._sampler.steps}")
            self._saved_at = time.monotonic()
        else:
            self._save()  # from now on: a folder with a model alone would be refused

    def go(self, stop: Stop) -> None:
        """Epoch after epoch, until the last one is evaluated or `stop` becomes true."""
        if self._progress.evaluated >= self._plan.recipe.epochs:
            self.log.info(f"all {self._plan.recipe.epochs} epochs were done before: nothing is left to do")
        recipe, size = self._plan.recipe, self._plan.input_size
        augmentation = Augmentation(ViewSize(recipe.crop or size, size), recipe, self._plan.seed)
        with closing(
            augmented_batches(self._frames, augmentation, self._sampler, self._trainer.step, self._resources)
        ) as batches:  # its workers do not let a process end
            self._epochs(batches, stop)

    def _epochs(self, batches: Iterator[list[Batch]], stop: Stop) -> None:
        while self._progress.evaluated < self._plan.recipe.epochs:
            end = (self._progress.evaluated + 1) * self._sampler.steps_per_epoch
            self.log.begin_epoch(
                self._progress.evaluated + 1,
                self._plan.recipe.epochs,
                self._trainer.step + self._sampler.steps_per_epoch - end,
                self._sampler.steps_per_epoch,
            )
            while self._trainer.step < end and not stop.anywhere(self._processes):
                self._step(batches)
            self.log.end_epoch()
            if stop.anywhere(self._processes) or not self._evaluate(stop):
                self._save()
                self.log.info(
                    f"{stop.reason}: stopped after step {self._trainer.step} of {self._sampler.steps}, all is kept in "
                    f"{self._folder}; the same command goes on from there"
                )
                return
            self._save()

    def _open_log(self, step: int) -> TrainingLog:
        """The first that is written to the folder, which is made. Raises ConfigurationError where it cannot be."""
        if not self._processes.first:
            return SilentLog()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return TrainingLog(self._folder, step, self._progress.evaluated)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to {self._folder} ({error.strerror}): choose another folder with -o"
            ) from error

    def _loss(self) -> BalancedLoss:
        classes, recipe = self._plan.label_set, self._plan.recipe
        sample = evenly_spaced(len(self._frames), _BALANCE_FRAMES)
        self.log.info(f"reads {len(sample)} of {len(self._frames)} training frames to weigh the classes")
        weights = balance_weights(
            map(self._frames.labels, sample), len(classes), recipe.balance_limits, recipe.balance_power
        )
        absent = [name for name, weight in zip(classes.names, weights, strict=True) if not weight]
        if absent:
            self.log.info(f"{len(absent)} of {len(classes)} classes do not occur: {', '.join(absent)}")
        return BalancedLoss(weights, self._resources.device, full_resolution=recipe.full_resolution_loss)

    def _step(self, batches: Iterator[list[Batch]]) -> None:
        began = time.monotonic()
        step = self._trainer.train(next(batches))
        seconds = time.monotonic() - began
        progress = self._progress
        progress.loss_sum, progress.steps = progress.loss_sum + step.loss, progress.steps + 1
        progress.seconds += seconds
        self.log.step(self._trainer.step, step, self._sampler.batch_size * progress.steps / progress.seconds)
        if time.monotonic() - self._saved_at >= _SAVE_EVERY:
            self._save()

    def _evaluate(self, stop: Stop) -> bool:
        """Score the averaged weights, keep them where they are the best; False where `stop` became true meanwhile."""
        began = time.monotonic()
        matrix = self._evaluator.confusion(self._trainer.average, stop)
        if stop.anywhere(self._processes) or matrix is None:
            return False
        matrix.counts = self._processes.sum(matrix.counts)
        scores, progress, epoch = matrix.scores(), self._progress, self._progress.evaluated + 1
        if scores.mean_iou_present > progress.best:
            progress.best, progress.best_epoch = scores.mean_iou_present, epoch
            if self._processes.first:
                network = averaged_copy(self._trainer.average).cpu()
                ModelBundle(self._plan.card(scores, epoch, self._counts), network).save(self._folder / MODEL)
        if self._processes.first:
            self._tell(scores, time.monotonic() - began)
        self._progress = Progress(epoch, progress.best, progress.best_epoch)
        return True

    def _tell(self, scores: Scores, evaluation_seconds: float) -> None:
        progress, step, epoch = self._progress, self._trainer.step, self._progress.evaluated + 1
        images = progress.steps * self._sampler.batch_size
        line = {
            "epoch": epoch,
            "step": step,
            "loss": progress.loss_sum / max(1, progress.steps),
            "learning_rate": learning_rate(self._plan.recipe, step - 1, self._sampler.steps_per_epoch),
            "seconds": round(progress.seconds, 1),
            "images_per_second": round(images / max(progress.seconds, 1e-9), 2),
            "evaluation_seconds": round(evaluation_seconds, 1),
            **{name: getattr(scores, name) for name in SCORES},
            "class_iou": dict(zip(self._plan.label_set.names, scores.class_iou, strict=True)),
        }
        self.log.epoch(step, line)
        self.log.images(step, self._plan.label_set, self._evaluator.examples(self._trainer.average, _PICTURES))
        self.log.info(
            f"epoch {epoch}/{self._plan.recipe.epochs}: loss {line['loss']:.3f}, mean IoU "
            f"{scores.mean_iou_present:.1%} (best {progress.best:.1%}, epoch {progress.best_epoch}), pixel accuracy "
            f"{scores.pixel_accuracy:.1%}, {line['images_per_second']} images/s"
        )

    def _save(self) -> None:
        if self._processes.first:
            save_state(self._folder, self._settings, Saved(self._trainer.state(), self._progress))
        self._saved_at = time.monotonic()


def _hash(network: AsymFormer) -> str:
    """Of the weights that a training starts from, shortened."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
