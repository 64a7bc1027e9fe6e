"""fcos_lib: acceptance and regression tests for FCOS on Ascend NPUs."""

import os

# Since 1.32, onnxruntime for Linux counts its use, with an id in ~/.cache, and uploads it. A run here asks and tells nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
