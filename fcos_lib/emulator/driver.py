"""The driver: reaches the process that plays the NPU, and waits for it as aclruntime does, with the GIL in its hand.

One process per device (`processor`), from the first loaded model to the last; it has its own Python, so that this one's GIL
can be held while it computes. `ctypes.PyDLL` makes the calls: unlike anything in `os`, it does not release the GIL.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import json
import mmap
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator import om
from fcos_lib.emulator.om import TensorDesc
from fcos_lib.emulator.processor import extents

_numbers = itertools.count(1)
_processors: dict[int, _Processor] = {}
_lock = threading.RLock()


class DeviceLost(Exception):
    """The process that plays the NPU has ended."""


class DeviceRefused(Exception):
    """The process could not do what it was told, and says why."""


class LoadedModel:
    """An OM on a device; it is unloaded by `free`, or when nobody holds it any more."""

    def __init__(self, path: Path, header: om.OmHeader, device: int) -> None:
        """Load the OM; `DeviceRefused` if that fails, `DeviceLost` if the device ends while loading."""
        self.header = header
        self._number = next(_numbers)
        self._processor = _reserve(device, self._number)
        self.free = weakref.finalize(self, _unload, self._processor, self._number)
        try:
            with self._processor.lock:
                self._processor.ask(load=self._number, path=str(path.absolute()))
        except BaseException:
            self.free()
            raise

    def execute(
        self, buffers: Sequence[Any], inputs: Sequence[TensorDesc], outputs: Sequence[TensorDesc], seconds: float = 0.0
    ) -> list[NDArray[Any]]:
        """Run on the inputs, contiguous buffers of bytes, for at least `seconds`, the GIL held until the device is done.

        `DeviceRefused` or `DeviceLost` if it is not.
        """
        operands, size = extents(inputs, 0)
        results, size = extents(outputs, size)
        with self._processor.lock:
            start = time.monotonic()
            self._processor.reserve(size)
            for (offset, _, _), buffer in zip(operands, buffers, strict=True):
                self._processor.write(offset, buffer)
            self._processor.ask(run=self._number, size=size, inputs=operands, outputs=results, until=start + seconds)
            return [self._processor.read(*extent) for extent in results]


class _Processor:
    """One child process and the memory that it shares with this one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.models: set[int] = set()
        self._ids = itertools.count(1)
        self._received = bytearray()
        # Without a name, so that nothing can stay behind whatever happens to the two processes.
        self._file = os.memfd_create("fcos-npu")
        self._size = 0
        self.reserve(mmap.PAGESIZE)
        package = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-m", "fcos_lib.emulator.processor", str(self._file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=(self._file,),
            env=os.environ | {"PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other
        )

    def reserve(self, size: int) -> None:
        """Have at least this many bytes of memory."""
        if size > self._size and self._file >= 0:
            os.ftruncate(self._file, size)
            self._memory, self._size = mmap.mmap(self._file, size), size

    def write(self, offset: int, buffer: Any) -> None:
        """Copy a buffer of bytes into the memory."""
        if self._process is None:
            raise self._lost()
        self._memory[offset : offset + memoryview(buffer).nbytes] = buffer  # mmap keeps the GIL, numpy would not

    def read(self, offset: int, shape: Sequence[int], dtype: str) -> NDArray[Any]:
        """A copy of an array in the memory."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(bytearray(self._memory[offset : offset + nbytes]), dtype).reshape(shape)

    def ask(self, **command: Any) -> None:
        """Send a command and wait for its answer, without ever letting go of the GIL; the caller holds `lock`."""
        number = next(self._ids)
        self.tell(id=number, **command)
        while (answer := self._next_answer())["id"] != number:
            pass  # the answer to a command whose wait was interrupted
        if "error" in answer:
            raise DeviceRefused(answer["error"])

    def tell(self, **command: Any) -> None:
        """Send a command; `DeviceLost` if nobody is there to read it."""
        data = json.dumps(command).encode() + b"\n"
        while data:
            written = self._call("write", data, len(data))
            if written <= 0:
                raise self._lost()
            data = data[written:]

    def _next_answer(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            buffer = ctypes.create_string_buffer(4096)
            count = self._call("read", buffer, len(buffer))
            if count <= 0:
                raise self._lost()
            self._received += buffer.raw[:count]
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received[:] = rest
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _call(self, name: str, buffer: Any, size: int) -> int:
        """read() from or write() to the process, the GIL held; 0 or less means that the process is gone."""
        if self._process is None:
            return 0
        pipe = self._process.stdout if name == "read" else self._process.stdin
        assert pipe is not None
        while True:
            count = int(getattr(_libc(), name)(pipe.fileno(), buffer, ctypes.c_size_t(size)))
            if count >= 0 or ctypes.get_errno() != errno.EINTR:
                return count

    def _lost(self) -> DeviceLost:
        self.end()
        return DeviceLost("the process that plays the NPU has ended")

    def end(self) -> None:
        """End the process and wait for that; the memory goes with it. Twice is harmless."""
        with _lock:
            for device, processor in list(_processors.items()):
                if processor is self:
                    del _processors[device]
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()
            os.close(self._file)
            self._file = -1


def _reserve(device: int, model: int) -> _Processor:
    """The process that plays this device, started unless it runs, with a model's number entered in its list."""
    with _lock:
        if device not in _processors:
            _processors[device] = _Processor()
        _processors[device].models.add(model)
        return _processors[device]


def _unload(processor: _Processor, model: int) -> None:
    """Unload a model; the last one takes the process with it. Runs wherever a session is dropped, so it never waits."""
    with _lock:
        processor.models.discard(model)
        if not processor.models:
            processor.end()
            return
    with contextlib.suppress(DeviceLost):
        processor.tell(unload=model)


@cache
def _libc() -> Any:
    library = ctypes.PyDLL(None, use_errno=True)
    library.read.restype = library.write.restype = ctypes.c_ssize_t
    return library
