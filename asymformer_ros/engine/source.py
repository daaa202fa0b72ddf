"""What an engine is built of: the ONNX graph of a model in the form that a builder and a precision need."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from asymformer_ros.engine.api import Library
from asymformer_ros.engine.frames import SIMULATED, sample_frames
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.engine.provide import EngineRequest, Source
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.tensorrt import CameraModel, EngineModel
from asymformer_ros.models.catalogue import model_files
from asymformer_ros.models.onnx_file import CAMERA_INPUTS, OnnxModel, describe, load
from asymformer_ros.onnx_graph.mixed import FP32_OPS, PREFIX, to_mixed
from asymformer_ros.onnx_graph.report import PrecisionReport
from asymformer_ros.onnx_graph.simplify import simplify

_SURVEYED_FRAMES = 4


def engine_request(
    model: str, options: BuildOptions, report: PrecisionReport | None, folder: Path, batch: int = 1
) -> EngineRequest:
    """The request for an engine of a bundle, an ONNX file (.onnx) or an untrained network.

    folder: for the ONNX files that are made on the way. batch: images at a time; an ONNX file has its own. Raises
    CheckpointError where the model cannot be loaded, ConfigurationError where model, precision and report do not belong
    together.
    """
    if model.endswith(".onnx"):
        return _of_onnx(model, options, report, folder)
    return _of_bundle(model, options, report, folder, batch)


def engine_model(model: str, batch: int = 1) -> EngineModel:
    """How to feed the engine that `engine_request` with the same model and batch asks for."""
    if model.endswith(".onnx"):
        return OnnxModel.open(model)
    from asymformer_ros.models.opening import open_model

    return CameraModel(open_model(model).card, batch)


def open_graph(model: str) -> tuple[Any, OnnxModel]:
    """The plain FP32 graph of a model, a ModelProto, and its description: of an .onnx file, or as `open_model` opens.

    Raises CheckpointError.
    """
    file = model_files(model).readable
    if file.endswith(".onnx"):
        return simplify(load(file)), OnnxModel.open(file)
    from asymformer_ros.engine.export import export_model
    from asymformer_ros.models.opening import open_model

    graph = export_model(open_model(file))
    return graph, describe(graph, Path(model), "")


def precisions_to_try(requested: str, report: PrecisionReport | None, *, can_survey: bool = False) -> tuple[str, ...]:
    """From the requested precision down to FP32; mixed only with a report that says what stays in FP32.

    can_survey: whether a report can be made when it comes to that, of simulated frames. Asked for by name, mixed needs
    one of the user's own frames.
    """
    if requested == "mixed" and report is None:
        raise ConfigurationError(
            "mixed precision needs a report of the layers that stay in FP32: make one with "
            "`asymformer precision MODEL -o precision.json` and give it with `--report precision.json`"
        )
    order = ("fp16", "mixed", "fp32") if report or can_survey else ("fp16", "fp32")
    return order[order.index(requested) :]


def _of_bundle(
    model: str, options: BuildOptions, report: PrecisionReport | None, folder: Path, batch: int
) -> EngineRequest:
    # PyTorch: a robot with an ONNX file has no need of it.
    from asymformer_ros.engine.export import ExportOptions, export_model
    from asymformer_ros.models.opening import open_model

    bundle = open_model(model)
    if report is not None:
        report.check_model(bundle.sha256)
    shape = (batch, *bundle.card.input_size)
    export = ExportOptions(batch=batch)
    return EngineRequest(
        model_name=bundle.card.name,
        model_sha256=bundle.sha256,
        shapes=dict(zip(CAMERA_INPUTS, ((*shape, 3), (*shape, 2)), strict=True)),
        source=_Sources(lambda: export_model(bundle, export), _reported(model, report), folder).make,
        options=_with_report(options, report),
        precisions=precisions_to_try(options.precision, report, can_survey=_has_onnxruntime()),
    )


def _of_onnx(model: str, options: BuildOptions, report: PrecisionReport | None, folder: Path) -> EngineRequest:
    description = OnnxModel.open(model)
    if description.precision != "fp32":
        raise ConfigurationError(
            f"{model} is in {description.precision} precision already: give the bundle, or its export in fp32, and the "
            "engine gets its precision from `--precision` and `--report`"
        )
    if report is not None:
        report.check_model(description.model_sha256)
    can_survey = _has_onnxruntime() and description.takes_camera_images and description.batch == 1
    return EngineRequest(
        model_name=description.path.stem,
        model_sha256=description.sha256,
        shapes=_shapes(description),
        source=_Sources(lambda: simplify(load(model)), _reported(model, report), folder).make,
        options=_with_report(options, report),
        precisions=precisions_to_try(options.precision, report, can_survey=can_survey),
    )


class _Sources:
    """Makes the ONNX files as they are asked for; the model is exported at most once."""

    def __init__(self, export: Callable[[], Any], reported: Callable[[], tuple[str, ...]], folder: Path) -> None:
        """reported: names of the nodes that a mixed graph keeps in FP32."""
        self._export, self._reported, self._folder = export, reported, folder
        self._model: Any = None

    def make(self, library: Library, precision: str) -> Source:
        """A typed graph where the builder keeps the graph's precision; names of FP32 nodes where it chooses itself."""
        if self._model is None:
            self._model = self._export()
        reported = self._reported() if precision == "mixed" else ()
        if library.precision_in_graph:
            model = self._model if precision == "fp32" else to_mixed(self._model, reported)
            return Source(self._write(model, precision))
        always = [node.name for node in self._model.graph.node if node.op_type in FP32_OPS or _is_prefix(node.name)]
        pinned = () if precision == "fp32" else (*always, *(name for name in reported if name not in always))
        return Source(self._write(self._model, "fp32"), pinned)

    def _write(self, model: Any, precision: str) -> Path:
        path = self._folder / f"{precision}.onnx"
        path.write_bytes(model.SerializeToString())
        return path


def _reported(model: str, report: PrecisionReport | None) -> Callable[[], tuple[str, ...]]:
    """Names that a report keeps in FP32; where there is none, of one that is made when it is asked for."""
    return lambda: (report or _survey(model)).fp32_layers


def _survey(model: str) -> PrecisionReport:
    """The report of simulated frames: for a model whose FP16 engine has failed, better than no FP16 at all."""
    return analyse_frames(*open_graph(model), sample_frames(None, _SURVEYED_FRAMES), SIMULATED)


def analyse_frames(graph: Any, description: OnnxModel, frames: Iterable[RgbdFrame], source: str) -> PrecisionReport:
    """What FP16 would do to a graph and its description, as `open_graph` gives them. See `analyse`."""
    from asymformer_ros.onnx_graph.precision import analyse  # ONNX Runtime: only where a report is made

    size = description.card.input_size
    feeds = (description.feeds(*resize_frame(frame, size)) for frame in frames)
    return analyse(graph, feeds, description.model_sha256, source)


def _has_onnxruntime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None


def _shapes(model: OnnxModel) -> dict[str, tuple[int, ...]]:
    height, width = model.card.input_size
    if model.takes_camera_images:
        return {model.rgb: (model.batch, height, width, 3), model.depth: (model.batch, height, width, 2)}
    return {model.rgb: (model.batch, 3, height, width), model.depth: (model.batch, 1, height, width)}


def _with_report(options: BuildOptions, report: PrecisionReport | None) -> BuildOptions:
    """The report's layers are part of what the engine depends on, even while an FP16 engine serves."""
    return replace(options, pinned=report.fp32_layers if report else ())


def _is_prefix(name: str) -> bool:
    return name.startswith(PREFIX)
