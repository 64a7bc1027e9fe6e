"""What does `aclruntime` pass around? Its tensors, descriptions, options and enumerations."""

from __future__ import annotations

import ctypes
import enum
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOST = -1


class dtype(enum.Enum):
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
    double = 11
    bool = 12

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return int(self.value)


class type(enum.Enum):
    """Where a tensor lies."""

    memory_host = 0
    memory_device = 1
    memory_dvpp = 2

    def __int__(self) -> int:
        return int(self.value)


def acl_type(name: str) -> dtype:
    """The ACL type for numpy's name of it; what ACL does not know is uint8."""
    name = {"float64": "double"}.get(name, name)
    return dtype[name] if name in dtype.__members__ else dtype.uint8


class MemorySummary:
    """Durations of the copies between host and device, for the whole process, in ms."""

    _instance: MemorySummary | None = None
    H2D_time_list: list[float]
    D2H_time_list: list[float]

    def __new__(cls) -> MemorySummary:
        """The one instance."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance.reset()
        return cls._instance

    def reset(self) -> None:
        """Forget all durations."""
        self.H2D_time_list = []
        self.D2H_time_list = []


def milliseconds(start: float) -> float:
    """Since `start`, a reading of `time.time`."""
    return (time.time() - start) * 1e3


class BaseTensor:
    """A host address and a number of bytes. Keeps nothing alive: the array must outlive the call."""

    def __init__(self, buf: int, size: int) -> None:
        self.buf = buf
        self.size = size

    def raw(self) -> memoryview:
        """The bytes at the address, where they are; for the emulator's own use."""
        return memoryview((ctypes.c_ubyte * self.size).from_address(self.buf)).cast("B")


class Tensor:
    """A copy of any buffer, on the host or on a device.

    numpy reads it through `__array__`; `memoryview(tensor)` works on aclruntime's tensors and not on these.
    """

    def __init__(self, buffer: Any) -> None:
        self._array = np.array(memoryview(buffer))
        if acl_type(self._array.dtype.name) is dtype.uint8:
            self._array = np.ascontiguousarray(self._array).view(np.uint8)
        self.device = HOST
        self.type = type.memory_host

    @property
    def dtype(self) -> dtype:
        """Element type."""
        return acl_type(self._array.dtype.name)

    @property
    def shape(self) -> list[int]:
        """Sizes of the axes."""
        return list(self._array.shape)

    def to_device(self, device_id: int) -> None:
        """Move to a device."""
        start = time.time()
        self._array = self._array.copy()
        self.device, self.type = device_id, type.memory_device
        MemorySummary().H2D_time_list.append(milliseconds(start))

    def to_dvpp(self, device_id: int) -> None:
        """Move to a device's memory for pictures."""
        self.to_device(device_id)
        self.type = type.memory_dvpp

    def to_host(self) -> None:
        """Move to the host, where numpy can read it."""
        start = time.time()
        self._array = self._array.copy()
        self.device, self.type = HOST, type.memory_host
        MemorySummary().D2H_time_list.append(milliseconds(start))

    def raw(self) -> NDArray[np.uint8]:
        """The bytes, wherever they are; for the emulator's own use."""
        return np.ascontiguousarray(self._array).reshape(-1).view(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.device != HOST:
            raise RuntimeError("tensor is in npu. can't convert to numpy array")
        return np.array(self._array, dtype=dtype, copy=copy if copy else None)

    def __str__(self) -> str:
        shape = ", ".join(str(size) for size in self.shape) + ("," if len(self.shape) == 1 else "")
        return f"<Tensor>\nshape:\t({shape})\ndtype:\t{self.dtype.name}\ndevice:\t{self.device}"

    __repr__ = __str__


def on_device(array: NDArray[Any], device_id: int) -> Tensor:
    """A device tensor that owns `array`, as `run` returns it."""
    tensor = Tensor(np.empty(0, array.dtype))
    tensor._array, tensor.device, tensor.type = array, device_id, type.memory_device
    return tensor


def batch(inputs: list[Tensor], keep_dims: bool = False) -> Tensor:
    """One host tensor of all inputs: joined along axis 0, or stacked on a new axis unless `keep_dims`."""
    arrays = [np.array(tensor) for tensor in inputs]
    return Tensor(np.concatenate(arrays) if keep_dims else np.stack(arrays))


@dataclass(slots=True)
class tensor_desc:
    """One input or output; `format` 0 is NCHW, 2 is ND; sizes are bytes."""

    name: str
    datatype: dtype
    format: int
    shape: list[int]
    size: int
    realsize: int


@dataclass(slots=True)
class session_options:
    """`loop`: executions per run; `log_level`: 1 debug, 2 info, 3 warning, 4 error."""

    loop: int = 1
    log_level: int = 2
    acl_json_path: str = ""


@dataclass(slots=True)
class infer_options:
    """Options of the pipelines, which the emulator does not run; of the new generation only."""

    output_dir: str = ""
    auto_dym_shape: bool = False
    auto_dym_dims: bool = False
    out_format: str = ""
    pure_infer_mode: bool = False
    output_names: list[str] = field(default_factory=list)
    shapes_list: list[str] = field(default_factory=list)


@dataclass(slots=True)
class sumary:
    """`exec_time_list`: (start, end) in ms since the session began (new generation), or durations in ms (old)."""

    exec_time_list: list[Any] = field(default_factory=list)
