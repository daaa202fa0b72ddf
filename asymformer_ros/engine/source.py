"""What an engine is built of: the graph of a model in the form that a builder and a precision need."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import ModelProto

from asymformer_ros.engine.frames import SIMULATED, sample_frames
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.models.model import Model
from asymformer_ros.onnx_graph.attention import widen_values
from asymformer_ros.onnx_graph.mixed import to_mixed
from asymformer_ros.onnx_graph.outputs import give_labels
from asymformer_ros.onnx_graph.report import PrecisionReport

_SURVEYED_FRAMES = 4


def analyse_model(model: Model, frames: Iterable[RgbdFrame], source: str) -> PrecisionReport:
    """What FP16 would do to a model: see `analyse`. source: where the frames are from, for people."""
    from asymformer_ros.onnx_graph.precision import analyse  # ONNX Runtime: only where a report is made

    feeds = (model.feeds(*resize_frame(frame, model.card.input_size)) for frame in frames)
    return analyse(model.graph, feeds, model.model_sha256, source)


def survey(model: Model) -> tuple[str, ...]:
    """Nodes that must stay in FP32 by a few simulated frames: better than no FP16 at all. Raises ConfigurationError."""
    return analyse_model(model, sample_frames(None, _SURVEYED_FRAMES), SIMULATED).fp32_layers


def plain_graph(model: Model) -> ModelProto:
    """The FP32 graph in the form that builders make a fast engine of, however old the model's file is."""
    graph = give_labels(model.graph, model.card.temperature) if model.signature.gives_labels else model.graph
    return widen_values(graph)


def typed_graph(graph: ModelProto, precision: str, fp32_layers: tuple[str, ...]) -> ModelProto:
    """The graph with the precision written into it, for builders that keep it."""
    return graph if precision == "fp32" else to_mixed(graph, fp32_layers)
