"""`aclruntime` in software: what this suite calls of the pybind11 module, with its texts and failures, over the emulator's OM.

Which of the three generations this is, `FCOS_EMULATOR` says, so `InferenceSession` is looked up when it is asked for
(docs/runtime.md has what tells them apart). Texts go to file descriptor 1, as printf's do. As in the real module, run()
holds the GIL until the device is done (`driver`). Missing are loops, pipelines, tensors made by hand, and everything dynamic but the batch size.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator import acl_errors, acl_parts, om, scenario
from fcos_lib.emulator.acl_errors import failure, say
from fcos_lib.emulator.acl_parts import (
    BaseTensor,
    Pace,
    Tensor,
    describe,
    dtype,
    session_options,
    sumary,
    tensor_desc,
)
from fcos_lib.emulator.driver import DeviceLost, DeviceRefused, LoadedModel
from fcos_lib.errors import SessionError

STAND_IN = True
"""The real module has no such attribute: this is how a report can tell."""
__all__ = ["STAND_IN", "BaseTensor", "Tensor", "dtype", "session_options", "sumary", "tensor_desc"]

_model_ids = itertools.count(1)
_FOREVER = 1e9


def __getattr__(name: str) -> Any:
    if name == "InferenceSession":
        return _GENERATIONS[scenario.current().generation]
    raise AttributeError(f"module 'aclruntime' has no attribute '{name}'")


@cache
def _initialise() -> None:
    say("[INFO] acl init success\n")


class _Session:
    """What all generations share."""

    _generation: scenario.Generation
    _prefix: str
    """What stands before CANN's own text."""

    def __init__(self, model_path: str, device_id: int, options: session_options) -> None:
        self._scenario = scenario.current()
        self._path, self._device, self._options = str(model_path), device_id, options
        self._check_arguments()
        self._thread, self._born, self._summary = threading.get_ident(), time.time(), sumary()
        self._model: LoadedModel | None = None
        _initialise()
        self._logical_id = acl_parts.open_device(device_id, len(self._scenario.server.ids))
        self._model = self._load()
        self._id = next(_model_ids)
        say(f"[INFO] load model {self._path} success\n[INFO] create model description success\n")
        header = self._model.header
        self._pace = Pace(self._scenario, header.time_factor, self._id)
        self._batches = header.batches
        self._batch = max(header.batches, default=0)  # which profile runs; the largest until another is set
        # CANN has -1 for an open batch size in the inputs only: outputs are those of the largest profile, whichever is chosen.
        self._inputs = [describe(desc, desc.at(self._batch).nbytes) for desc in header.inputs]
        self._outputs = [describe(desc.at(self._batch), desc.at(self._batch).nbytes) for desc in header.outputs]

    def _check_arguments(self) -> None:
        """Nothing: the old generation finds out when loading."""

    def _load(self) -> LoadedModel:
        path = Path(self._path)
        try:
            header = om.read_header(path)
            refusal = acl_errors.load_refusal(header, self._scenario)
            if refusal is None:
                return LoadedModel(path, header, self._logical_id)
        except (SessionError, DeviceRefused) as error:
            cause = error.found if isinstance(error, SessionError) else error
            refusal = f"E19999: Inner Error!\n        [Model][FromData]load model from data failed: {cause}"
        except DeviceLost:
            refusal = acl_errors.LOST.rstrip("\n")
        raise acl_errors.load_failure(f"{self._prefix}{refusal}", self._path)

    def run(self, output_names: Sequence[str], feeds: Sequence[BaseTensor]) -> list[Tensor]:
        """Device tensors of the named outputs.

        Inputs are checked by their number and their bytes, and by nothing else, as in the real module.
        """
        model = self._ready()
        names = [desc.name for desc in self._outputs]
        acl_parts.check_sizes(feeds, self._inputs, "Check" if self._generation == "old" else "check")
        for name in output_names:
            if name not in names:
                raise failure(f"[ERROR] outnames {name} not valid\n")
        outputs = self._execute(model, [feed.raw() for feed in feeds])
        return [Tensor(outputs[names.index(name)]) for name in output_names]

    def _execute(self, model: LoadedModel, buffers: Sequence[memoryview]) -> list[NDArray[Any]]:
        start = time.time()
        fault = acl_parts.next_fault(self._scenario)
        if fault == "lost":
            acl_parts.lose_device()
        header = model.header
        if fault == "oom" and self._generation == "old":
            needed = header.inputs[0].at(self._batch).nbytes
            raise failure(acl_errors.OLD_MEMORY.format(name=header.inputs[0].name, needed=needed))
        if fault in acl_errors.FAILED_RUN:
            raise self._failed(acl_errors.FAILED_RUN[fault])
        inputs, outputs = ([desc.at(self._batch) for desc in descs] for descs in (header.inputs, header.outputs))
        seconds = _FOREVER if fault == "hang" else self._pace.next_run(inputs[0].shape[0])
        try:
            arrays = acl_parts.apply_fault(model.execute(buffers, inputs, outputs, seconds or 0.0), fault)
        except DeviceLost:
            raise self._failed(acl_errors.LOST) from None
        except DeviceRefused as error:
            raise self._failed(f"EZ9999: Inner Error!\n        Aicore kernel execute failed: {error}\n") from None
        self._record(start, time.time() - start if seconds is None else seconds)
        return arrays

    def _failed(self, said: str) -> RuntimeError:
        """The exception of an execution that fails; `said` is CANN's own text."""
        prefix = self._prefix if said else ""
        return failure(
            f"{prefix}{said}[ERROR] execute model failed, modelId is {self._id}\n[ERROR] acl execute failed:1\n"
        )

    def _record(self, start: float, seconds: float) -> None:
        """Note an execution: when it began, as `time.time` has it, and how long it took."""
        raise NotImplementedError

    def _ready(self) -> LoadedModel:
        if self._model is None:
            raise failure("[WARN] no model had been loaded\n")
        return self._model

    def sumary(self) -> sumary:
        """Times of the executions so far; the name is the module's."""
        return self._summary

    def _forget_times(self) -> None:
        """Forget the times; the generations spell it differently."""
        self._summary = sumary()

    def get_inputs(self) -> list[tensor_desc]:
        """Descriptions of the inputs."""
        return list(self._inputs)

    def get_outputs(self) -> list[tensor_desc]:
        """Descriptions of the outputs, in the order of `--out_nodes`."""
        return list(self._outputs)

    def set_staticbatch(self) -> int:
        """0, of an OM with profiles too: the largest then runs. (A warning about gears belongs to `--dynamic_dims`.)"""
        return 0

    def set_dynamic_batchsize(self, size: int) -> int:
        """Choose the profile that runs; refused if the OM does not have it, or has none."""
        if self._generation != "old" and not 1 <= size <= 4096:
            raise RuntimeError("dynamic batchsize out of range. Please check.")
        if not self._batches:
            raise failure("[ERROR] the dynamic_batch_size parameter is not specified for model conversion\n")
        if size not in self._batches:
            raise failure(acl_errors.WRONG_BATCH.format(batches="".join(f"[{batch}]" for batch in self._batches)))
        self._batch = size
        for desc in (*self._inputs, *self._outputs):
            desc.realsize = desc.size * size // max(self._batches)
        return 0


class _CheckedSession(_Session):
    """What `InferenceSession` has since 2024."""

    _generation, _prefix = "new", "[ACL ERROR] "

    def _check_arguments(self) -> None:
        """RuntimeError for arguments that the constructor refuses before it touches the device."""
        if not 1 <= self._options.log_level <= 4:
            raise RuntimeError("log level out of range. Please check.")
        if not acl_parts.acceptable(Path(self._path)):
            raise RuntimeError("please check model path")
        if not 0 <= self._device <= 255:
            raise RuntimeError("device id is out of range")

    def _record(self, start: float, seconds: float) -> None:
        """float32, as the real module stores them: the difference coarsens as the session ages."""
        since = start - self._born
        times = (float(np.float32(moment * 1e3)) for moment in (since, since + seconds))
        self._summary.exec_time_list.append(tuple(times))

    def free_resource(self) -> None:
        """Unload the model; run() fails from now on. Twice is harmless."""
        if self._model is not None:
            self._model.free()
            self._model = None
            say(f"[INFO] unload model success, model Id is {self._id}\n")


class _Session2023(_Session):
    """`InferenceSession` until 2023: one context, which belongs to the thread that made the session; dropping it unloads."""

    _generation, _prefix = "old", ""
    reset_sumaryinfo = _Session._forget_times

    def _ready(self) -> LoadedModel:
        if threading.get_ident() != self._thread:
            raise self._failed("EE1001: The argument is invalid.Reason: the context is null\n")
        return super()._ready()

    def _record(self, start: float, seconds: float) -> None:
        self._summary.exec_time_list.append(seconds * 1e3)


class _Session2024(_CheckedSession):
    """`InferenceSession` of 0.0.2 since 2024."""

    reset_sumaryinfo = _Session._forget_times


class _Session003(_CheckedSession):
    """`InferenceSession` of 0.0.3."""

    reset_summaryinfo = _Session._forget_times


_GENERATIONS: dict[str, type[_Session]] = {"old": _Session2023, "new": _Session2024, "0.0.3": _Session003}
