"""What can be asked for. Imports no more than what engines have of it: the command line's help needs it."""

from asymformer_ros.engine.choices import PRECISIONS

BACKENDS = ("auto", "torch", "onnxruntime", "tensorrt")
"""What runs a network."""

DEVICES = ("auto", "cpu", "cuda")
"""Where PyTorch can be asked to run."""

CPU_PRECISIONS = ("bf16", "int8")
"""What a CPU may compute in beside FP32, in the order in which "auto" tries them."""

SERVED_PRECISIONS = ("auto", *PRECISIONS, *CPU_PRECISIONS)
"""What a network can be asked to compute in."""
