"""The artifacts that a store keeps: a module for each way to make one, since a key covers the module and what it imports."""

PORTABLE, ASCEND = "portable.onnx", "ascend.onnx"
"""Files of an ONNX artifact: for onnxruntime, and for `atc`."""
