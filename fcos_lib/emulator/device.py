"""How does an OM run without an NPU? Two onnxruntime graphs on the CPU, with the NMS kernel between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator import om
from fcos_lib.emulator.nms import batch_multi_class_nms

Array = NDArray[Any]


class Model:
    """A loaded OM."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Load the OM in `path`; `SessionError` if it cannot be read. `threads` 0 means one per core."""
        loaded = om.read(path)
        self.header = loaded.header
        self._before = _session(loaded.before, threads)
        self._after = _session(loaded.after, threads) if loaded.after else None

    def execute(self, inputs: list[Array]) -> list[Array]:
        """The outputs, in the header's order, for arrays in the header's order, shapes and dtypes."""
        given = {desc.name: array for desc, array in zip(self.header.inputs, inputs, strict=True)}
        for step in self.header.aipp:
            name = self.header.inputs[step.rank].name
            given[name] = step.apply(given[name])
        values = given | _run(self._before, given)
        if self.header.nms is not None:
            boxes, scores = (values[name] for name in self.header.nms_inputs)
            found = batch_multi_class_nms(boxes, scores, self.header.nms)
            values |= dict(zip(self.header.nms_outputs, found, strict=False))
        if self._after is not None:
            values |= _run(self._after, values)
        return [np.ascontiguousarray(values[name]) for name in self.header.tensors]


def _session(graph: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Idle threads that spin would take the cores from whoever decodes the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _run(session: Any, values: dict[str, Array]) -> dict[str, Array]:
    names = [value.name for value in session.get_outputs()]
    feeds = {value.name: values[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(names, feeds), strict=True)) if names else {}
