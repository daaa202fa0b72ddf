"""What `evaluate` runs a data set through: a backend in this process, several scales, or a segmentation node."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asymformer_ros.cli.options import NODE
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.evaluation.evaluate import Segments
from asymformer_ros.inference.choices import CPU_PRECISIONS
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.opening import open_model
from asymformer_ros.models.sizes import size_name


@dataclass(frozen=True)
class Evaluated:
    """What segments, what its model is, what serves it, and the settings that belong into a report."""

    segmenter: Segments
    card: ModelCard
    model_sha256: str
    name: Callable[[], str]
    settings: dict[str, object] = field(default_factory=dict)


@contextmanager
def evaluated(args: argparse.Namespace) -> Iterator[Evaluated]:
    """What the options --backend, --input-size, --multi-scale and --flip ask for; closed at the end.

    Raises ConfigurationError where they contradict each other, else as `open_serving`.
    """
    if args.backend == NODE:
        with _node(args) as node:
            yield node
    elif args.multi_scale or args.flip:
        with _torch(args) as torch:
            yield torch
    else:
        with closing(open_serving(args.model, serving_options(args))) as backend:
            yield Evaluated(Segmenter(backend), backend.card, backend.model_sha256, lambda: backend.name)


def serving_options(args: argparse.Namespace) -> ServingOptions:
    """As a node's, but "auto" waits for the engine: one backend is to answer for all frames."""
    return ServingOptions(
        args.backend, args.device, args.label_set, precision=args.precision, wait=True, input_size=args.input_size
    )


@contextmanager
def _torch(args: argparse.Namespace) -> Iterator[Evaluated]:
    if args.precision in CPU_PRECISIONS:
        raise ConfigurationError(f"--precision {args.precision} has one size: leave out --multi-scale and --flip")
    if args.backend not in ("auto", "torch"):
        raise ConfigurationError(
            f"--multi-scale and --flip are PyTorch's, not of --backend {args.backend}: an engine or an ONNX file has "
            "one size"
        )
    from asymformer_ros.inference.multi_scale import SCALES, MultiScaleSegmenter
    from asymformer_ros.inference.torch import TorchBackend

    model = open_model(args.model, label_set=args.label_set, form="bundle", input_size=args.input_size)
    if model.bundle is None:
        raise BackendError(f"model '{model.path}' is an ONNX file, of one size: give the bundle it was exported from")
    with closing(TorchBackend.open(model, args.device, args.precision)) as backend:
        several = MultiScaleSegmenter(backend, SCALES if args.multi_scale else (1.0,), flip=args.flip)
        settings: dict[str, object] = {"sizes": [list(size) for size in several.sizes], "flip": args.flip}
        yield Evaluated(several, backend.card, backend.model_sha256, lambda: backend.name, settings)


@contextmanager
def _node(args: argparse.Namespace) -> Iterator[Evaluated]:
    """A segmentation node in a process of its own, with the user's middleware and ROS domain."""
    if args.multi_scale or args.flip:
        raise ConfigurationError("a node runs its model at one size: leave out --multi-scale and --flip")
    from asymformer_ros.cli.children import Child
    from asymformer_ros.cli.demo import demo_environment
    from asymformer_ros.node.remote import RemoteSegmenter

    model = open_model(args.model, label_set=args.label_set, input_size=args.input_size)
    environment = demo_environment(os.environ)
    os.environ.update(environment)  # this process's own node meets the other there
    parameters = {"model": args.model, "device": args.device, "label_set": args.label_set}
    parameters["precision"] = args.precision
    parameters["input_size"] = size_name(args.input_size) if args.input_size else ""
    namespace = f"/asymformer_evaluation_{os.getpid()}"  # a robot that shares the domain is not to hear any of this
    options = [word for name, value in parameters.items() for word in ("-p", f"{name}:='{value}'")]
    options += ["-p", "temporal_smoothing:=false", "-r", f"__ns:={namespace}"]  # the frames are of no camera's stream
    with tempfile.TemporaryDirectory(prefix="asymformer_evaluate_") as folder:
        child = Child("asymformer_ros.node.segmentation_node", options, environment, Path(folder) / "node.log")
        try:
            with RemoteSegmenter(namespace, model.card.label_set, child.require_alive) as remote:
                yield Evaluated(remote, model.card, model.model_sha256, lambda: remote.name)
        finally:
            child.end()
