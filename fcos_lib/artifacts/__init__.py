"""The artifacts that a store keeps: a module for each way to make one, since a key covers the module and what it imports."""

PORTABLE, ASCEND = "portable.onnx", "ascend.onnx"
"""Files of an ONNX artifact: for onnxruntime, and for `atc`."""
FIXED_BATCH = "ascend_fixed_batch.onnx"
"""Beside an OM of one batch size: what `atc` was given, if that was made of an ONNX whose batch size is open."""
