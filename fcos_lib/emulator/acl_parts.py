"""The parts of `aclruntime`: tensors and descriptions, devices, the times of a run and the faults that a scenario asks for."""

from __future__ import annotations

import ctypes
import enum
import itertools
import os
import random
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator.acl_errors import failure, say
from fcos_lib.emulator.om import TensorDesc
from fcos_lib.emulator.scenario import VARIABLE, Run, Scenario

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
_executions = itertools.count()
"""Of this process, on whatever session: what a scenario's `run=...:N` counts."""


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


def open_device(index: int, count: int) -> int:
    """The logical id behind ACL's index, of `count` devices of the host; the exception of the module if there is none.

    Of ASCEND_RT_VISIBLE_DEVICES, CANN takes what stands before the first thing that is no logical id, and refuses a list that does
    not rise.
    """
    visible = list(range(count))
    if (text := os.environ.get(VISIBLE)) is not None:
        words = itertools.takewhile(lambda word: word.isdecimal() and int(word) < count, text.split(","))
        visible = [int(word) for word in words]
    if visible != sorted(set(visible)):
        raised = "[207004][Error code unknown] "
        reason = f"set {VISIBLE}:{text} error, it must be configured in ascending order"
    elif not 0 <= index < len(visible):
        raised, reason = "[107001][ACL: invalid device id] ", f"invalid device id, input visible devices:{len(visible)}"
    else:
        say(f"[INFO] open device {index} success\n")
        return visible[index]
    say(f"EE1001: The argument is invalid.Reason: {reason}\n[ERROR] acl open device {index} failed\n")
    raise RuntimeError(raised)


def next_fault(scenario: Scenario) -> Run:
    """The fault of the execution of this process that begins now; `ok` before and after what the scenario asks for."""
    execution = next(_executions)
    due = execution == 0 if scenario.run == "fail_once" else execution >= scenario.run_after
    return scenario.run if due else "ok"


def lose_device() -> None:
    """Take all cards away for this process and its children, npu-smi among them."""
    os.environ[VARIABLE] = f"{os.environ[VARIABLE]},npu_smi=none"


def apply_fault(outputs: list[NDArray[Any]], fault: Run) -> list[NDArray[Any]]:
    """The outputs as the faults `nan`, `inf`, `wrong` and `short` would have them."""
    for array in outputs:
        if fault in ("nan", "inf") and array.dtype.kind == "f" and array.ndim > 1:
            array[:, 0] = float(fault)
        if fault == "wrong" and array.dtype.kind == "f" and array.ndim == 3 and array.shape[2] == 5:
            array[..., :4:2] += 8 * (array[..., 4:] > 0)  # pixels
    if fault == "short":
        return [np.ascontiguousarray(array[:, :-1]) if array.ndim > 1 else array[:-1] for array in outputs]
    return outputs


def acceptable(path: Path) -> bool:
    """The new generation's rules for a model file: no link, no unusual character, writable by its owner only."""
    if not re.fullmatch(r"[A-Za-z0-9_./-]+\.om", str(path)) or path.is_symlink() or not path.is_file():
        return False
    return not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def check_sizes(feeds: Sequence[BaseTensor], inputs: Sequence[tensor_desc], word: str) -> None:
    """The failure of a run whose inputs are not as many, or have not as many bytes; `word` is how the generation spells it."""
    failed = "[ERROR] check input vector failed ret:-1\n"
    if len(feeds) != len(inputs):
        raise failure(failed)
    for position, (feed, desc) in enumerate(zip(feeds, inputs, strict=True)):
        if feed.size != desc.realsize:
            sizes = f"in size:{feed.size} needsize:{desc.realsize} not match"
            raise failure(f"[ERROR] {word} i:{position} name:{desc.name} {sizes}\n{failed}")
