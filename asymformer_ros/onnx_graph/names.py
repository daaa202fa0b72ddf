"""Names of a segmentation graph's inputs and outputs, and what it can be exported as. Needs nothing, not even onnx."""

CAMERA_INPUTS = ("rgb", "depth")
LABEL_OUTPUTS = ("labels", "confidence")
LOGITS_OUTPUT = "logits"

EXPORTED_OUTPUTS = ("labels", "logits4")
"""What an exported graph may give: LABEL_OUTPUTS, or class scores at stride 4."""

EXPORTED_PRECISIONS = ("fp32", "mixed")
"""What an exported graph may compute in; mixed is FP16 but for some layers."""

EXPORT_TARGETS = ("any", "cpu")
"""What an exported graph may be written for: any runtime, or ONNX Runtime on a CPU alone."""
