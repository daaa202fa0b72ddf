"""From a trained model to what serves it fastest: ONNX export, FP16 safety, engines."""
