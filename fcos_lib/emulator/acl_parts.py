"""The parts of `aclruntime`: tensors, descriptions, options, and the times of a run."""

from __future__ import annotations

import ctypes
import enum
import os
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator.om import TensorDesc
from fcos_lib.emulator.scenario import Scenario


class dtype(enum.IntEnum):
    """ACL's element types, with ACL's numbers."""

    float32 = 0
    float16 = 1
    int8 = 2
    int32 = 3
    uint8 = 4
    int16 = 6
    uint16 = 7
    uint32 = 8
    int64 = 9
    uint64 = 10
    float64 = 11
    bool = 12


class BaseTensor:
    """A host address and a number of bytes. Keeps nothing alive: the array must outlive the call."""

    def __init__(self, buf: int, size: int) -> None:
        self.buf = buf
        self.size = size

    def raw(self) -> memoryview:
        """The bytes at the address, where they are; for the emulator's own use."""
        return memoryview((ctypes.c_ubyte * self.size).from_address(self.buf)).cast("B")


class Tensor:
    """An output on the device. After `to_host` numpy reads it through `__array__`, where aclruntime's has a buffer.

    Before, that buffer is refused, of which numpy makes an array of one object instead of an exception.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array, self._on_device = array, True

    def to_host(self) -> None:
        """Move to the host, where numpy can read it."""
        self._on_device = False

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self._on_device:
            refused = np.empty((), object)
            refused[()] = self
            return refused
        return np.array(self._array, dtype=dtype, copy=copy if copy else None)


@dataclass(slots=True)
class tensor_desc:
    """One input or output; `format` 0 is NCHW, 1 is NHWC, 2 is ND; sizes are bytes."""

    name: str
    datatype: dtype
    format: int
    shape: list[int]
    size: int
    realsize: int


@dataclass(slots=True)
class session_options:
    """`log_level`: 1 debug, 2 info, 3 warning, 4 error."""

    log_level: int = 2


@dataclass(slots=True)
class sumary:
    """`exec_time_list`: (start, end) in ms since the session began (new generation), or durations in ms (old)."""

    exec_time_list: list[Any] = field(default_factory=list)


def describe(desc: TensorDesc, nbytes: int) -> tensor_desc:
    """A tensor of the OM as the runtime describes it, with the bytes of the largest profile."""
    layout = 1 if desc.nhwc else 0 if len(desc.shape) == 4 else 2
    kind = dtype[desc.dtype] if desc.dtype in dtype.__members__ else dtype.uint8
    return tensor_desc(desc.name, kind, layout, list(desc.shape), nbytes, nbytes)


class Pace:
    """The times of one session."""

    def __init__(self, scenario: Scenario, time_factor: float | None, session: int) -> None:
        """`time_factor` is the OM's; `session` tells this process's sessions apart."""
        self._rate = scenario.rate
        self._factor = 1.0 if time_factor is None else time_factor
        self._deviation = scenario.jitter / 100
        self._noise = random.Random(f"{os.getpid()} {session}")

    def next_run(self, batch: int) -> float | None:
        """Seconds that the next run of `batch` pictures takes; None if the device has no rate."""
        if self._rate is None:
            return None
        return batch / self._rate * self._factor * self._noise.gauss(1.0, self._deviation)
