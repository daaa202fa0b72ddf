"""INT8 for CPUs: linear layers with weights of 8 bits per channel, their inputs quantised as they come."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from asymformer_ros.optional import importing
from asymformer_ros.system.limits import cpu_flags

with importing("onnxruntime", "INT8 on a CPU"):
    from onnxruntime.quantization import QuantType, quantize_dynamic


def quantize(model: ModelProto) -> ModelProto:
    """A copy whose products with constant matrices are computed in INT8, for ONNX Runtime; no frame is looked at.

    Where the processor has no VNNI, 8-bit products may saturate: weights get 7 bits there.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    layers = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    logger = logging.getLogger()  # the quantiser advises its users there
    level = logger.level
    with tempfile.TemporaryDirectory() as folder:
        given, file = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(given))  # ONNX Runtime 1.17 takes a file alone
        logger.setLevel(logging.ERROR)
        try:
            quantize_dynamic(
                given,
                file,
                op_types_to_quantize=["MatMul"],
                nodes_to_quantize=layers,
                per_channel=True,
                reduce_range=not any("vnni" in flag for flag in cpu_flags()),
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
            )
        finally:
            logger.setLevel(level)
        quantized = onnx.load(str(file))
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    for entry in quantized.metadata_props:
        entry.value = "int8" if entry.key == "precision" else entry.value
    return quantized
