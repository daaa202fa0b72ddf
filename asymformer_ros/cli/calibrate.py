"""`asymformer calibrate`: a model whose confidence is the share of pixels that are right."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import add_frames, add_model, describe_written, open_frames, progress_bar
from asymformer_ros.errors import FrameError
from asymformer_ros.inference.choices import DEVICES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asymformer_ros.datasets import LabelledFrame
    from asymformer_ros.inference.torch import TorchBackend

_PIXELS = 200_000  # of all frames together: the temperature is then known to about 1 %


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find the temperature of a model on frames that it was not trained on, and write a bundle with it. "
        "Labels stay as they are."
    )
    add_model(parser, "bundle, checkpoint")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=".safetensors file to write")
    add_frames(parser, required=True)
    parser.add_argument("--device", choices=DEVICES, default="auto", help="of PyTorch (default: auto)")
    parser.add_argument("--half", action="store_true", help="store the weights in FP16: half the size")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises CheckpointError, ConfigurationError, FrameError or BackendError."""
    from asymformer_ros.evaluation.calibration import fit_temperature, reliability_of
    from asymformer_ros.evaluation.evaluate import require_same_classes
    from asymformer_ros.inference.torch import TorchBackend
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.model import Model
    from asymformer_ros.models.opening import open_bundle

    bar, data = progress_bar(), open_frames(args)
    bundle = open_bundle(args.model, args.label_set)
    require_same_classes(bundle.card.label_set, data.label_set)
    frames = range(min(len(data), args.limit or len(data)))
    with closing(TorchBackend.open(Model(Path(args.model), bundle.card, bundle=bundle), args.device)) as backend:
        shown = (data[index] for index in bar(frames, backend.name, unit="frame"))
        scores, truth = _sampled(backend, shown, max(1, _PIXELS // len(frames)))
    temperature = fit_temperature(scores, truth)
    before, after = (reliability_of(scores, truth, one).ece for one in (bundle.card.temperature, temperature))
    made = ModelBundle(replace(bundle.card, temperature=temperature), bundle.network)
    made.save(args.bundle, half=args.half)
    print(describe_written(args.bundle, ModelBundle.load(args.bundle)))
    print(f"temperature {temperature:.3f}, calibration error {(before or 0):.1%} before and {(after or 0):.1%} with it")
    print(f"on {len(truth)} pixels of {len(frames)} frames of {data.name}")
    return 0


def _sampled(
    backend: TorchBackend, frames: Iterable[LabelledFrame], pixels: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Scores (n, classes) and classes (n,) of `pixels` labelled pixels of each frame, at the network's input size."""
    import numpy as np

    from asymformer_ros.frames.frame import UNLABELLED
    from asymformer_ros.frames.resize import resize_frame, resize_nearest
    from asymformer_ros.models.scores import scores_at

    rng, size, parts = np.random.default_rng(0), backend.card.input_size, []
    for labelled in frames:
        rgb, depth = resize_frame(labelled.frame, size)
        truth = resize_nearest(labelled.labels, size)
        known = np.flatnonzero(truth != UNLABELLED)
        chosen = rng.choice(known, min(pixels, len(known)), replace=False)
        logits = backend.logits4(rgb[None], depth[None])[0].float().cpu().numpy()
        parts.append((scores_at(logits, size, chosen), truth.ravel()[chosen]))
    scores, truths = (np.concatenate(one) for one in zip(*parts, strict=True))
    if not len(truths):
        raise FrameError("no pixel has a true class: nothing can be calibrated; are these the labels of the data set?")
    return scores, truths
