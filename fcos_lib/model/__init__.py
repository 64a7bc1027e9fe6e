"""The model's way: checkpoint, torch detector, trunk ONNX and its two endings."""
