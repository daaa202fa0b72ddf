"""Which precision the layers of a network get: asked of builders that choose it, required of the graph elsewhere.

Variables are named after their TensorRT class, as in `api.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asymformer_ros.engine.api import TensorRt
from asymformer_ros.engine.options import BuildOptions
from asymformer_ros.errors import BackendError


def set_precision(library: TensorRt, network: Any, config: Any, options: BuildOptions) -> tuple[str, ...]:
    """Ask for the precision, or require it of the graph; returns the pinned names that no layer has.

    Raises BackendError where the graph has another precision and the builder keeps it.
    """
    trt = library.trt
    if options.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, with no more digits than FP16
    if library.precision_in_graph:
        _require_precision(trt, network, options.precision)
        return ()
    if options.precision == "fp32":
        return ()
    config.set_flag(trt.BuilderFlag.FP16)
    if not options.pinned:
        return ()
    # Not OBEY: then one pinned layer inside of a fused region is enough for a build to fail.
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    return _pin(trt, network, options.pinned)


def _require_precision(trt: Any, network: Any, precision: str) -> None:
    """Raise BackendError where the graph's convolutions and matrix products are not what is asked for."""
    heavy = (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    layers = [layer for layer in _layers(network) if layer.type in heavy]
    halves = sum(trt.float16 in _types(layer) for layer in layers)
    if layers and (halves > 0) == (precision == "fp32"):
        raise BackendError(
            f"precision is {precision}, but {halves} of {len(layers)} convolutions and matrix products of the ONNX "
            f"graph are FP16, and this builder keeps the graph's own precision: export the model as {precision}"
        )


def _types(layer: Any) -> tuple[Any, Any]:
    """Of the first output: `get_output_type` may say FLOAT of every layer that nobody has set a type of."""
    tensor = layer.get_output(0)
    return tensor.dtype, layer.get_output_type(0)


def _pin(trt: Any, network: Any, pinned: Sequence[str]) -> tuple[str, ...]:
    """Keep layers that compute in FP32 by name; returns the names that no layer has (folded or fused by the parser)."""
    kinds = _arithmetic(trt)
    wanted, missing = set(pinned), set(pinned)
    for layer in _layers(network):
        if layer.name in wanted and layer.type in kinds and _types(layer)[0] == trt.float32:
            layer.precision = trt.float32
            for output in range(layer.num_outputs):
                layer.set_output_type(output, trt.float32)
        missing.discard(layer.name)
    return tuple(sorted(missing))


def _layers(network: Any) -> Iterable[Any]:
    return (network.get_layer(index) for index in range(network.num_layers))


def _arithmetic(trt: Any) -> set[Any]:
    """Types of layer that a precision makes a difference to.

    Moving and casting layers would only tear fused regions apart. NORMALIZATION computes in FP32 of its own accord.
    """
    return {
        trt.LayerType.ACTIVATION,
        trt.LayerType.CONVOLUTION,
        trt.LayerType.ELEMENTWISE,
        trt.LayerType.MATRIX_MULTIPLY,
        trt.LayerType.POOLING,
        trt.LayerType.REDUCE,
        trt.LayerType.RESIZE,
        trt.LayerType.SCALE,
        trt.LayerType.SOFTMAX,
        trt.LayerType.UNARY,
    }
