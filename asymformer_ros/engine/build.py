"""Builds an engine, step by step, each in a child process: the graph that the builder gets, then the plan."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asymformer_ros.engine.child import run_child
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.disk import writing_temporarily
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError
from asymformer_ros.models.model import Model
from asymformer_ros.system.files import write_atomically


@dataclass(frozen=True)
class BuildResult:
    """What a build told. inputs, outputs: (name, shape, dtype). precisions: number of layers by precision.

    precisions and fp32_convolutions are None where there was no GPU to load the engine on. unmatched: pinned names
    that no layer has. warnings: what the builder said.
    """

    version: str
    seconds: float
    layers: int
    inputs: tuple[tuple[str, tuple[int, ...], str], ...]
    outputs: tuple[tuple[str, tuple[int, ...], str], ...]
    unmatched: tuple[str, ...] = ()
    precisions: dict[str, int] | None = None
    fp32_convolutions: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphFiles:
    """The ONNX files that the engines of one model are built of, in a folder of their own.

    They are made in a child process: PyTorch's trace cannot be ended, and holds the interpreter for half a second at a
    time, in which no frame would be served. typed: whether the graph itself has the precision, for builders that keep
    it. fp32_layers: names of the nodes that "mixed" keeps in FP32; None has them surveyed on simulated frames.
    """

    model: Model
    folder: Path
    typed: bool
    fp32_layers: tuple[str, ...] | None

    def make(self, precision: str, context: BuildContext) -> tuple[Path, tuple[str, ...]]:
        """The ONNX file for a precision, and the names of its nodes that the builder must keep in FP32.

        Raises BackendError, as `run_child` does.
        """
        plain, labels = self.folder / "plain.onnx", self.folder / "labels.json"
        onnx = self.folder / f"{precision}.onnx" if self.typed else plain
        with writing_temporarily():
            labels.write_text(json.dumps(self.model.card.label_set.to_json()))
            model = self._copy()
        request = {
            "task": "graph",
            "model": str(model),
            "batch": self.model.batch,
            "label_set": str(labels),
            "precision": precision,
            "fp32_layers": self.fp32_layers,
            "typed": self.typed,
            "plain": str(plain),
            "onnx": str(onnx),
        }
        return onnx, tuple(run_child(request, context).values["pinned"])

    def _copy(self) -> Path:
        """The model as it was read, whatever has become of its file."""
        path = self.folder / ("model.safetensors" if self.model.bundle else "model.onnx")
        if not path.exists():
            if self.model.bundle:
                self.model.bundle.save(path)
            elif self.model.proto is not None:
                write_atomically(path, self.model.proto.SerializeToString())
        return path


def build_plan(onnx: Path, plan: Path, options: BuildOptions, context: BuildContext | None = None) -> BuildResult:
    """Build the engine of an ONNX file and write it to `plan`, whole or not at all.

    Raises BackendError where it cannot be built, is cancelled, takes too long, or the child process crashes.
    """
    if not onnx.is_file():
        raise BackendError(f"{onnx} does not exist: give an ONNX file")
    if options.builder == "tensorrt" and options.gpu is None:
        raise BackendError("TensorRT builds only where its engine is to run, and there is no GPU in sight")
    partial = plan.with_name(f".{plan.name}.{os.getpid()}.tmp")
    request = {
        "task": "build",
        "onnx": str(onnx.resolve()),
        "plan": str(partial.resolve()),
        "options": options.to_json(),
    }
    try:
        outcome = run_child(request, context or BuildContext())
        os.replace(partial, plan)
    finally:
        with suppress(OSError):  # what made the build fail is told, not this
            partial.unlink(missing_ok=True)
    event, convolutions = outcome.values, outcome.values.get("fp32_convolutions")
    return BuildResult(
        version=event["version"],
        seconds=event["seconds"],
        layers=event["layers"],
        inputs=tuple((tensor["name"], tuple(tensor["shape"]), tensor["dtype"]) for tensor in event["inputs"]),
        outputs=tuple((tensor["name"], tuple(tensor["shape"]), tensor["dtype"]) for tensor in event["outputs"]),
        unmatched=tuple(event["unmatched"]),
        precisions=event.get("precisions"),
        fp32_convolutions=None if convolutions is None else tuple(convolutions),
        warnings=outcome.warnings,
    )
