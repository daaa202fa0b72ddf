"""What can be asked of an engine build. Imports nothing: the command line's help needs it."""

BUILDERS = ("tensorrt", "tensorrt_rtx")
"""The libraries that build engines, by their module's name."""

PRECISIONS = ("fp16", "mixed", "fp32")
"""From the fastest to the safest: the order in which a build tries them."""

OPTIMIZATION_LEVELS = range(6)
"""From a quick build to the longest search for fast kernels; TensorRT's own choice is 3."""
