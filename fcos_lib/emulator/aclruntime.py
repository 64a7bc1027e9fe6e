"""What would `import aclruntime` give? The pybind11 module's surface, texts and failures, over the emulator's OM.

Both generations call themselves 0.0.2; which one this is, `FCOS_EMULATOR` says, so the names that only one of them has are
looked up when they are asked for. Texts go to file descriptor 1, as printf's do.

As in the real module, run() holds the GIL until the device is done (`driver`). Known differences: pipelines
(`run_pipeline`, `inner_run`) and dynamic AIPP are missing; a Tensor shows itself to numpy alone.
"""

from __future__ import annotations

import re
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.emulator import acl_tensor, scenario
from fcos_lib.emulator.acl_session import FAILURE, Session, close_devices, say
from fcos_lib.emulator.acl_tensor import (
    BaseTensor,
    MemorySummary,
    Tensor,
    batch,
    dtype,
    session_options,
    sumary,
    tensor_desc,
    type,
)
from fcos_lib.emulator.driver import LoadedModel

STAND_IN = True
"""The real module has no such attribute: this is how a report can tell."""

__all__ = [
    "STAND_IN",
    "BaseTensor",
    "MemorySummary",
    "Tensor",
    "batch",
    "dtype",
    "model",
    "session_options",
    "sumary",
    "tensor_desc",
    "type",
]


def __getattr__(name: str) -> Any:
    if name == "InferenceSession":
        return _OldSession if scenario.current().generation == "old" else _NewSession
    if name == "infer_options" and scenario.current().generation == "new":
        return acl_tensor.infer_options
    for kind in (dtype, type):
        if name in kind.__members__:
            return kind[name]
    raise AttributeError(f"module 'aclruntime' has no attribute '{name}'")


def model(modelPath: str, deviceId: int = 0, options: session_options | None = None) -> Any:
    """The same as `InferenceSession`, with the factory's own argument names."""
    return __getattr__("InferenceSession")(modelPath, deviceId, options or session_options())


class _NewSession(Session):
    """`InferenceSession` since 2024."""

    _generation = "new"

    def _check_arguments(self) -> None:
        """RuntimeError for arguments that the constructor refuses before it touches the device."""
        options, path = self._options, Path(self._path)
        if not 1 <= options.loop <= 100000:
            raise RuntimeError("loop num out of range. Please check.")
        if not 1 <= options.log_level <= 4:
            raise RuntimeError("log level out of range. Please check.")
        if not _acceptable(path):
            raise RuntimeError("please check model path")
        if options.acl_json_path and not Path(options.acl_json_path).is_file():
            raise RuntimeError("please check acl json path")
        if not 0 <= self._device <= 255:
            raise RuntimeError("device id is out of range")

    def _record(self, start: float, seconds: float) -> None:
        """float32, as the real module stores them: the difference coarsens as the session ages."""
        since = start - self._born
        times = (float(np.float32(moment * 1e3)) for moment in (since, since + seconds))
        self._summary.exec_time_list.append(tuple(times))

    def set_context(self) -> int:
        """There is one context: 0."""
        return 0

    def free_resource(self) -> None:
        """Unload the model; run() fails from now on. Twice is harmless."""
        self._unload()

    @staticmethod
    def finalize() -> None:
        """Give back ACL, once for the process."""
        close_devices("end to reset device {}")


class _OldSession(Session):
    """`InferenceSession` until 2023: one context, which belongs to the thread that made the session."""

    _generation = "old"

    def _ready(self) -> LoadedModel:
        if threading.get_ident() != self._thread:
            say("[ERROR] acl execute failed:107002\n")
            raise RuntimeError(FAILURE)
        return super()._ready()

    def _record(self, start: float, seconds: float) -> None:
        self._summary.exec_time_list.append(seconds * 1e3)

    def finalize(self) -> None:
        """Unload the model and tear down ACL for the whole process."""
        self._unload()
        close_devices("end to reset device is {}")


for _kind in (_NewSession, _OldSession):
    _kind.__name__ = _kind.__qualname__ = "InferenceSession"


def _acceptable(path: Path) -> bool:
    """The new generation's rules for a model file: no link, no unusual character, writable by its owner only."""
    if not re.fullmatch(r"[A-Za-z0-9_./-]+\.om", str(path)) or path.is_symlink() or not path.is_file():
        return False
    return not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
