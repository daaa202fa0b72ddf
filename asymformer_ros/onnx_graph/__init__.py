"""ONNX graphs changed without changing what they compute."""
