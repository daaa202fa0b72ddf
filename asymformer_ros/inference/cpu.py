"""One way in on a CPU: ONNX Runtime serves a model by the graph that was made of its file once, and is kept."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from asymformer_ros.engine.cache import EngineCache
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.cpu_graph import CpuGraphRequest, find_cpu_graph, graph_cache, provide_cpu_graph
from asymformer_ros.errors import AsymformerError
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.libraries import better, choose, open_backend
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.upgrading import UpgradingBackend
from asymformer_ros.models.catalogue import ModelFiles, model_files

_log = logging.getLogger(__name__)

_LATER = 10.0  # seconds that a start, and whoever wants an image or two, is left alone before a graph is made to keep


def open_without_engine(name: str, options: ServingOptions, context: BuildContext) -> InferenceBackend:
    """In PyTorch on CUDA, else in ONNX Runtime, by the graph that was kept for this file.

    Where there is none yet, something else serves meanwhile: of an ONNX file ONNX Runtime with a graph that is made in
    memory; of a bundle PyTorch on the CPU, until the network has been exported. With `options.wait` the export is
    waited for. Raises as `open_serving` does.
    """
    bundle = bundle_to_export(name, options.device)
    files = ModelFiles(bundle, bundle)
    library = better(files, options.device) if bundle else choose("auto", name, options.device)
    if library == "torch":
        return open_backend("torch", name, options.device, options)
    if not bundle:
        return _open_onnx_file(name, options)
    request = _request(bundle, options)
    found = find_cpu_graph(graphs_of(options), request)
    if found is not None:
        return found.opened
    if options.wait:
        try:
            return _export(request, options, context)
        except AsymformerError as error:
            context.check()
            _log.warning("%s: PyTorch serves on the CPU", error)
            return open_backend("torch", name, "cpu", options)
    return UpgradingBackend(
        lambda: open_backend("torch", name, "cpu", options),
        lambda context: _export(request, options, context),
    )


def open_onnxruntime(name: str, options: ServingOptions, context: BuildContext) -> InferenceBackend:
    """ONNX Runtime, whatever it takes: a bundle that has not been exported is exported now; `context` cancels that."""
    bundle = bundle_to_export(name, options.device)
    if not bundle:
        choose("onnxruntime", name, options.device)  # says what is wrong with a model that has no ONNX file
        return _open_onnx_file(name, options)
    request = _request(bundle, options)
    found = find_cpu_graph(graphs_of(options), request)
    return found.opened if found is not None else _export(request, options, context)


def _export(
    request: CpuGraphRequest[InferenceBackend], options: ServingOptions, context: BuildContext
) -> InferenceBackend:
    context.report("exporting the network for ONNX Runtime")
    return provide_cpu_graph(graphs_of(options), request, context).opened


def _open_onnx_file(name: str, options: ServingOptions) -> InferenceBackend:
    """By the graph that was kept, or by one that is made in memory while that to keep is made beside it."""
    path = Path(model_files(name).onnx)
    request = _request(str(path), options)
    found = find_cpu_graph(graphs_of(options), request) if path.is_file() else None
    if found is not None:
        return found.opened

    def serve() -> InferenceBackend:
        return open_backend("onnxruntime", name, options.device, options)

    def keep(context: BuildContext) -> InferenceBackend:
        context.wait(_LATER)
        context.check()
        context.report("keeping the graph for the next start")
        return provide_cpu_graph(graphs_of(options), request, context, must_keep=True).opened

    if options.wait:  # it is there for a short time, or is measured
        return serve()
    return UpgradingBackend(serve, keep, keep=0.0, awaited=False)


def bundle_to_export(name: str, device: str) -> str:
    """The bundle or checkpoint of a model that ONNX Runtime can serve once it is exported; "" where there is none."""
    files = model_files(name)
    return files.bundle if not files.onnx and device != "cuda" and Path(files.bundle).is_file() else ""


def _request(path: str, options: ServingOptions) -> CpuGraphRequest[InferenceBackend]:
    from asymformer_ros.inference.onnxruntime import open_kept  # says what to install where ONNX Runtime is missing

    return CpuGraphRequest(
        Path(path), options.label_set, partial(open_kept, path=Path(path)), input_size=options.input_size
    )


def graphs_of(options: ServingOptions) -> EngineCache:
    """The cache of graphs that these options mean."""
    return graph_cache(EngineCache(options.engine_cache).folder)
