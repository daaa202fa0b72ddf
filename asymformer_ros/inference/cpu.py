"""One way in on a CPU: ONNX Runtime serves a model whatever its file is, a bundle by the graph that is made of it."""

from __future__ import annotations

import logging
from pathlib import Path

from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.cpu_graph import CpuGraphRequest, find_cpu_graph, graph_cache, provide_cpu_graph
from asymformer_ros.errors import AsymformerError
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.libraries import better, open_backend, server
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.upgrading import UpgradingBackend
from asymformer_ros.models.catalogue import ModelFiles, model_files

_log = logging.getLogger(__name__)


def open_without_engine(name: str, options: ServingOptions, context: BuildContext) -> InferenceBackend:
    """In PyTorch on CUDA, else in ONNX Runtime; until a bundle has been exported for it, PyTorch serves on the CPU.

    With `options.wait` the export is waited for. Raises as `open_serving` does.
    """
    bundle = bundle_to_export(name, options.device)
    if not bundle or better(ModelFiles(bundle, bundle), options.device) == "torch":
        return open_backend("auto", name, options.device, options.label_set)
    model = find_cpu_graph(graphs_of(options), _request(bundle, options))
    if model is not None:
        return server("onnxruntime", "cpu")(model)
    if options.wait:
        try:
            return open_exported(name, options, context)
        except AsymformerError as error:
            context.check()
            _log.warning("%s: PyTorch serves on the CPU", error)
            return open_backend("torch", name, "cpu", options.label_set)
    return UpgradingBackend(
        lambda: open_backend("torch", name, "cpu", options.label_set),
        lambda context: open_exported(name, options, context),
    )


def open_exported(name: str, options: ServingOptions, context: BuildContext) -> InferenceBackend:
    """ONNX Runtime with the graph of a bundle, which is exported now where it has not been; `context` cancels that."""
    bundle = bundle_to_export(name, options.device)
    context.report("exporting the network for ONNX Runtime")
    return server("onnxruntime", "cpu")(provide_cpu_graph(graphs_of(options), _request(bundle, options), context))


def bundle_to_export(name: str, device: str) -> str:
    """The bundle or checkpoint of a model that ONNX Runtime can serve once it is exported; "" where there is none."""
    files = model_files(name)
    return files.bundle if not files.onnx and device != "cuda" and Path(files.bundle).is_file() else ""


def _request(bundle: str, options: ServingOptions) -> CpuGraphRequest:
    return CpuGraphRequest(Path(bundle), options.label_set, server("onnxruntime", "cpu"))


def graphs_of(options: ServingOptions) -> EngineCache:
    """The cache of graphs that these options mean."""
    return graph_cache(EngineCache(Path(options.engine_cache).expanduser() if options.engine_cache else None).folder)
