"""What does the process that plays the NPU do? It loads OMs and runs them, for the one process that started it.

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

import json
import math
import mmap
import os
import select
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator.device import Model
from fcos_lib.errors import SessionError


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
        outputs = model.execute([self._array(*place) for place in command["inputs"]])
        for place, output in zip(command["outputs"], outputs, strict=True):
            target = self._array(*place)
            if (target.shape, target.dtype) != (output.shape, output.dtype):  # copying would broadcast or cast
                raise ValueError(f"an output is {output.dtype}{list(output.shape)}, not {target.dtype}{place[1]}")
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
