"""The process that plays the NPU: it loads OMs and runs them, for the one process that started it.

Started by `driver` as `python -m fcos_lib.emulator.processor FD`, FD being the device's memory: an anonymous file that both
map. Commands come as JSON lines on stdin, answers go to stdout:

    {"id": 1, "load": 7, "path": "/x/model.om"}                      → {"id": 1}
    {"id": 2, "run": 7, "size": N, "inputs": [[offset, shape, dtype], ...], "outputs": [...], "until": T}  → {"id": 2}
    {"unload": 7}                                                     (no answer)

A run is answered no earlier than T, a reading of `time.monotonic`, which is one clock for all processes: whoever waits for the
answer holds the GIL meanwhile, and could not sleep without letting go of it.
A command that fails answers `{"id": N, "error": "..."}`. The process ends as soon as nobody holds the other end of stdin.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import select
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator import om
from fcos_lib.emulator.kernels import batch_multi_class_nms
from fcos_lib.errors import SessionError

Array = NDArray[Any]
_ALIGNMENT = 64


class Model:
    """A loaded OM."""

    def __init__(self, path: Path) -> None:
        """Load the OM in `path`; `SessionError` if it cannot be read."""
        loaded = om.read(path)
        self.header, self._threads = loaded.header, len(os.sched_getaffinity(0))
        self._each, before, after = loaded.graphs
        self._by_threads = dict[int, Any]()
        rest = 1 if self._each else self._threads  # what is left is done before other threads have woken up
        self._before = _session(before, rest) if before else None
        self._after = _session(after, 1) if after else None
        if self._each:
            largest = max(self.header.batches, default=self.header.inputs[0].shape[0])
            self._session_of(largest)

    def execute(self, inputs: list[Array]) -> list[Array]:
        """The outputs, in the header's order, for arrays in the header's order, shapes and dtypes."""
        values = {desc.name: array for desc, array in zip(self.header.inputs, inputs, strict=True)}
        if self.header.aipp is not None:
            name = self.header.inputs[0].name
            values[name] = self.header.aipp.apply(values[name])
        if self._each:
            values |= self._run_each(values)
        if self._before is not None:
            values |= _run(self._before, values)
        if self.header.nms is not None:
            boxes, scores = (values[name] for name in self.header.nms_inputs)
            detections = batch_multi_class_nms(boxes, scores, self.header.nms)
            values |= dict(zip(self.header.nms_outputs, detections, strict=False))
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
    groups: dict[bytes, list[int]] = {}
    for slot in range(len(inputs[0])):
        digest = hashlib.sha256(b"".join(array[slot].tobytes() for array in inputs)).digest()
        groups.setdefault(digest, []).append(slot)
    return list(groups.values())


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


def extents(descs: Sequence[om.TensorDesc], start: int) -> tuple[list[tuple[int, list[int], str]], int]:
    """(offset, shape, dtype) of each tensor in the shared memory from `start` on, and where the next one would lie."""
    areas = []
    for desc in descs:
        areas.append((start, list(desc.shape), desc.dtype))
        start += -(-desc.nbytes // _ALIGNMENT) * _ALIGNMENT
    return areas, start


class Processor:
    """The loaded models and the memory."""

    def __init__(self, memory: int) -> None:
        self._models: dict[int, Model] = {}
        self._file = memory
        self._memory: mmap.mmap | None = None

    def obey(self, command: dict[str, Any]) -> None:
        """Do what one command asks; any exception means that it failed."""
        if "load" in command:
            self._models[command["load"]] = Model(Path(command["path"]))
        elif "run" in command:
            self._run(self._models[command["run"]], command)
        else:
            self._models.pop(command["unload"], None)

    def _run(self, model: Model, command: dict[str, Any]) -> None:
        if self._memory is None or len(self._memory) < command["size"]:
            self._memory = mmap.mmap(self._file, command["size"])
        outputs = model.execute([self._array(*extent) for extent in command["inputs"]])
        for extent, output in zip(command["outputs"], outputs, strict=True):
            target = self._array(*extent)
            if (target.shape, target.dtype) != (output.shape, output.dtype):  # copying would broadcast or cast
                raise ValueError(f"an output is {output.dtype}{list(output.shape)}, not {target.dtype}{extent[1]}")
            target[...] = output
        time.sleep(max(0.0, command["until"] - time.monotonic()))

    def _array(self, offset: int, shape: list[int], dtype: str) -> NDArray[Any]:
        assert self._memory is not None
        return np.frombuffer(self._memory, dtype, math.prod(shape), offset).reshape(shape)


def end_with(descriptor: int) -> None:
    """End this process at once when the last writer of a pipe is gone, even while it computes."""

    def watch() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # nothing but the hang-up is asked for
        while not any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll()):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def serve(commands: IO[bytes], answers: IO[bytes], memory: int) -> None:
    """Obey commands until there are no more."""
    processor = Processor(memory)
    for line in commands:
        command = json.loads(line)
        answer = {"id": command.get("id")}
        try:
            processor.obey(command)
        except Exception as error:  # onnxruntime raises its own hierarchy, RuntimeError and ValueError
            answer["error"] = error.found if isinstance(error, SessionError) else str(error)
        if answer["id"] is not None:
            answers.write(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Serve stdin and stdout."""
    # Whatever a library prints must not be taken for an answer.
    with open(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)
        end_with(0)
        serve(sys.stdin.buffer, answers, int(sys.argv[1]))


if __name__ == "__main__":
    main()
