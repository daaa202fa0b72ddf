"""What can be asked for. Imports nothing: the command line's help needs it."""

BACKENDS = ("auto", "torch", "onnxruntime", "tensorrt")
"""What runs a network."""

DEVICES = ("auto", "cpu", "cuda")
"""Where PyTorch can be asked to run."""
