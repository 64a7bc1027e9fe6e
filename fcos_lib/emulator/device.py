"""An OM that runs without an NPU: onnxruntime graphs on the CPU, with the NMS kernel between them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator import om
from fcos_lib.emulator.nms import batch_multi_class_nms

Array = NDArray[Any]
_STEP = 997
"""Values between those by which pictures are told apart at first."""


class Model:
    """A loaded OM."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Load the OM in `path`; `SessionError` if it cannot be read. `threads` 0 means one per core."""
        loaded = om.read(path)
        self.header = loaded.header
        self._threads = threads or _usable_cpus()
        self._each, self._by_threads = loaded.each, dict[int, Any]()
        rest = 1 if self._each else self._threads  # what is left is done before other threads have woken up
        self._before = _session(loaded.before, rest) if loaded.before else None
        self._after = _session(loaded.after, 1) if loaded.after else None
        if self._each:
            largest = max(self.header.batches, default=self.header.inputs[0].shape[0])
            self._session_of(largest)

    def execute(self, inputs: list[Array]) -> list[Array]:
        """The outputs, in the header's order, for arrays in the header's order, shapes and dtypes."""
        values = {desc.name: array for desc, array in zip(self.header.inputs, inputs, strict=True)}
        for step in self.header.aipp:
            name = self.header.inputs[step.rank].name
            values[name] = step.apply(values[name])
        if self._each:
            values |= self._run_each(values)
        if self._before is not None:
            values |= _run(self._before, values)
        if self.header.nms is not None:
            boxes, scores = (values[name] for name in self.header.nms_inputs)
            found = batch_multi_class_nms(boxes, scores, self.header.nms)
            values |= dict(zip(self.header.nms_outputs, found, strict=False))
        if self._after is not None:
            values |= _run(self._after, values)
        return [np.ascontiguousarray(values[name]) for name in self.header.tensors]

    def _run_each(self, values: dict[str, Array]) -> dict[str, Array]:
        """The graph for one picture on each of the batch, as many at a time as there are threads."""
        (batch,) = {len(array) for array in values.values()}
        session = self._session_of(batch)
        inputs = [value.name for value in session.get_inputs()]
        alike = _alike([values[name] for name in inputs])

        def run(slots: list[int]) -> dict[str, Array]:
            return _run(session, {name: values[name][slots[0] : slots[0] + 1] for name in inputs})

        results: dict[str, Array] = {}
        with ThreadPoolExecutor(min(batch, self._threads)) as pool:
            parts = list(pool.map(run, alike))
        for slots, made in zip(alike, parts, strict=True):
            for name, array in made.items():
                if name not in results:
                    results[name] = np.empty((batch, *array.shape[1:]), array.dtype)
                results[name][slots] = array
        return results

    def _session_of(self, batch: int) -> Any:
        """One for as many pictures at a time as there are threads; what threads they leave over work on the same picture."""
        threads = max(1, self._threads // batch)
        if threads not in self._by_threads:
            self._by_threads[threads] = _session(self._each, threads)
        return self._by_threads[threads]


def _alike(inputs: list[Array]) -> list[list[int]]:
    """The slots of a batch, those together whose inputs are the same bytes: each picture is computed by itself, so once."""
    groups: dict[bytes, list[list[int]]] = {}
    for slot in range(len(inputs[0])):
        candidates = groups.setdefault(b"".join(array[slot].ravel()[::_STEP].tobytes() for array in inputs), [])
        for group in candidates:
            if all(array[slot].tobytes() == array[group[0]].tobytes() for array in inputs):
                group.append(slot)
                break
        else:
            candidates.append([slot])
    return sorted(group for candidates in groups.values() for group in candidates)


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _session(graph: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that spin would take the cores from whoever decodes the next pictures: on a busy machine all takes twice as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _run(session: Any, values: dict[str, Array]) -> dict[str, Array]:
    names = [value.name for value in session.get_outputs()]
    feeds = {value.name: values[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(names, feeds), strict=True)) if names else {}
