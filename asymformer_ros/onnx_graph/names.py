"""Names of a segmentation graph's outputs. Needs nothing, not even onnx."""

LABEL_OUTPUTS = ("labels", "confidence")
LOGITS_OUTPUT = "logits"
