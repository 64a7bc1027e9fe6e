"""How does a session of `aclruntime` behave, whichever its generation? Loading, checking, running, and what it prints."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator import acl_tensor, om, scenario
from fcos_lib.emulator.acl_tensor import BaseTensor, Tensor, dtype, session_options, tensor_desc
from fcos_lib.emulator.chips import server
from fcos_lib.emulator.driver import DeviceLost, DeviceRefused, LoadedModel
from fcos_lib.emulator.load_texts import LOST, NO_MEMORY, WRONG_BATCH, load_refusal
from fcos_lib.emulator.om import TensorDesc
from fcos_lib.emulator.scenario import Pace, Scenario
from fcos_lib.errors import SessionError

BAD_PARAMETER = "[1][ACL: invalid parameter] "
FAILURE = "[-1][ACL: general failure] "
_model_ids = itertools.count(1)
_open_devices: set[int] = set()
_executions = itertools.count()
"""Of this process, on whatever session: what a scenario's `run=...:N` counts."""
_LOST_MARK = "npu_smi=none"
_FOREVER = 1e9
_SHIFT = 8.0
"""Pixels."""


def say(text: str) -> None:
    """Print on file descriptor 1, as the real module's printf does, past `sys.stdout`."""
    os.write(1, text.encode())


def open_device(number: int, chips: int) -> None:
    """Initialise ACL once for the process and open a device; RuntimeError if the server has no such device."""
    if not _open_devices:
        say("[INFO] acl init success\n")
    if not 0 <= number < chips:
        say(f"[ERROR] acl open device {number} failed\n")
        raise RuntimeError("[507033][Error code unknown] ")
    _open_devices.add(number)
    say(f"[INFO] open device {number} success\n")


def close_devices(text: str) -> None:
    """Tear ACL down for the process, saying `text` with each open device's number; twice is harmless."""
    if _open_devices:
        say("".join(f"[INFO] {text.format(number)}\n" for number in sorted(_open_devices)))
        say("[INFO] end to finalize acl\n")
        _open_devices.clear()


class Session:
    """What both generations share."""

    _generation: scenario.Generation

    def __init__(self, model_path: str, device_id: int, options: session_options) -> None:
        self._scenario = scenario.current()
        self._path, self._device, self._options = str(model_path), device_id, options
        self._check_arguments()
        self._thread = threading.get_ident()
        self._born = time.time()
        self._summary = acl_tensor.sumary()
        self._model: LoadedModel | None = None
        open_device(self._device, len(server(self._scenario).places))
        if self._generation == "new":
            say("[INFO] create new context\n")
        self._model = self._load()
        self._id = next(_model_ids)
        say(f"[INFO] load model {self._path} success\n[INFO] create model description success\n")
        header = self._model.header
        self._pace = Pace(self._scenario, header.time_factor, self._id)
        self._batches = header.batches
        self._batch = max(header.batches, default=0)  # which profile runs; the largest until another is set
        self._static_asked = False
        self._inputs = [_describe(desc, self._batch) for desc in header.inputs]
        self._outputs = [_describe(desc, self._batch) for desc in header.outputs]

    def _check_arguments(self) -> None:
        """The old generation finds out when loading."""

    def _load(self) -> LoadedModel:
        path = Path(self._path)
        try:
            header = om.read_header(path)
            if _LOST_MARK in os.environ.get(scenario.VARIABLE, ""):
                raise DeviceLost
            refusal = load_refusal(header, self._scenario)
            if refusal is None:
                return LoadedModel(path, header, self._device)
        except (SessionError, DeviceRefused) as error:
            cause = error.found if isinstance(error, SessionError) else error
            refusal = f"E19999: Inner Error!\n        [Model][FromData]load model from data failed: {cause}"
        except DeviceLost:
            refusal = LOST
        prefix = "[ACL ERROR] " if self._generation == "new" else ""
        say(
            f"{prefix}{refusal}\n[ERROR] load model from file failed, model file is {self._path}\n"
            "[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:1\n"
            "[WARN] no model had been loaded, unload failed\n"
        )
        raise RuntimeError(BAD_PARAMETER)

    def run(self, output_names: list[str], feeds: Any) -> list[Tensor]:
        """Device tensors of the named outputs (all if none are named) for list[Tensor], dict or list[BaseTensor].

        Inputs are checked by their number and their bytes, and by nothing else, as in the real module.
        """
        loaded = self._ready()
        if self._batches and self._static_asked and self._generation == "new":
            say(f"[WARN] check failed dym gearcount:{len(self._batches)} but dymtype:0 not set\n")
            raise RuntimeError(FAILURE)
        feeds = self._checked(feeds)
        names = [desc.name for desc in self._outputs]
        for name in output_names:
            if name not in names:
                say(f"[ERROR] outnames {name} not valid\n")
                raise RuntimeError(FAILURE)
        outputs: list[NDArray[Any]] = []
        with loaded.alone(), _failures():
            start = time.time()
            loaded.write([feed.raw() for feed in feeds])
            copied = sum(isinstance(feed, BaseTensor) for feed in feeds)  # a device tensor is there already
            acl_tensor.MemorySummary().H2D_time_list.extend([acl_tensor.milliseconds(start)] * copied)
            for turn in range(self._options.loop):
                outputs = self._execute(loaded)
                if self._options.loop > 1:
                    say(f"\rloop inference exec: ({turn + 1}/{self._options.loop})")
        wanted = output_names or names
        return [acl_tensor.on_device(outputs[names.index(name)], self._device) for name in wanted]

    def _execute(self, loaded: LoadedModel) -> list[NDArray[Any]]:
        start = time.time()
        played = self._due(next(_executions))
        if played.run in ("fail", "fail_once", "oom"):
            say(NO_MEMORY if played.run == "oom" else "[ERROR] acl execute failed:1\n")
            raise RuntimeError(FAILURE)
        if played.run == "lost":
            os.environ[scenario.VARIABLE] = f"{os.environ[scenario.VARIABLE]},{_LOST_MARK}"  # for npu-smi, a child
            raise DeviceLost
        header = loaded.header
        inputs, outputs = ([desc.at(self._batch) for desc in descs] for descs in (header.inputs, header.outputs))
        seconds = _FOREVER if played.run == "hang" else self._pace.next_run(inputs[0].shape[0])
        results = apply_fault(loaded.execute(inputs, outputs, seconds or 0.0), played)
        self._record(start, time.time() - start if seconds is None else seconds)
        return results

    def _due(self, execution: int) -> Scenario:
        """The scenario as it is for this execution of the process: what begins later has not begun."""
        wanted = self._scenario
        due = execution == 0 if wanted.run == "fail_once" else execution >= wanted.run_after
        return wanted if due else replace(wanted, run="ok")

    def _record(self, start: float, seconds: float) -> None:
        """Note an execution: when it began, as `time.time` has it, and how long it took."""
        raise NotImplementedError

    def _ready(self) -> LoadedModel:
        if self._model is None:
            say("[WARN] no model had been loaded\n")
            raise RuntimeError(FAILURE)
        return self._model

    def _checked(self, feeds: Any) -> list[Tensor | BaseTensor]:
        if isinstance(feeds, dict):
            feeds = [feeds[desc.name] for desc in self._inputs if desc.name in feeds]
        if len(feeds) != len(self._inputs) or any(isinstance(feed, Tensor) and feed.device < 0 for feed in feeds):
            say("[ERROR] check input vector failed ret:-1\n")
            raise RuntimeError(FAILURE)
        check = "check" if self._generation == "new" else "Check"
        for position, (feed, desc) in enumerate(zip(feeds, self._inputs, strict=True)):
            size = feed.size if isinstance(feed, BaseTensor) else len(feed.raw())
            if size != desc.realsize:
                say(
                    f"[ERROR] {check} i:{position} name:{desc.name} in size:{size} needsize:{desc.realsize} not match\n"
                    "[ERROR] check input vector failed ret:-1\n"
                )
                raise RuntimeError(FAILURE)
        return list(feeds)

    def options(self) -> session_options:
        """The options of the constructor."""
        return self._options

    def sumary(self) -> acl_tensor.sumary:
        """Times of the executions so far; the name is the module's."""
        return self._summary

    def reset_sumaryinfo(self) -> None:
        """Forget the times."""
        self._summary = acl_tensor.sumary()

    def get_inputs(self) -> list[tensor_desc]:
        """Descriptions of the inputs."""
        return list(self._inputs)

    def get_outputs(self) -> list[tensor_desc]:
        """Descriptions of the outputs, in the order of `--out_nodes`."""
        return list(self._outputs)

    def set_staticbatch(self) -> int:
        """0; the new generation then runs no OM with profiles."""
        self._static_asked = True
        return 0

    def set_custom_outsize(self, sizes: list[int]) -> int:
        """Accepted; static outputs have their own sizes."""
        if len(sizes) > len(self._outputs):
            raise RuntimeError("length of custom size list out of range. Please check.")
        return 0

    def set_dynamic_batchsize(self, size: int) -> int:
        """Choose the profile that runs; refused if the OM does not have it, or has none."""
        if self._generation == "new" and not 1 <= size <= 4096:
            raise RuntimeError("dynamic batchsize out of range. Please check.")
        if not self._batches:
            return self._not_dynamic("dynamic_batch_size")
        if size not in self._batches:
            say(WRONG_BATCH.format(batches="".join(f"[{batch}]" for batch in self._batches)))
            raise RuntimeError(FAILURE)
        self._batch, self._static_asked = size, False
        for desc in (*self._inputs, *self._outputs):
            if om.DYNAMIC in desc.shape:
                desc.realsize = desc.size * size // max(self._batches)
        return 0

    def set_dynamic_hw(self, width: int, height: int) -> int:
        """Refused: the OM is static."""
        return self._not_dynamic("dynamic_image_size")

    def set_dynamic_dims(self, dims: str) -> int:
        """Refused: the OM is static."""
        return self._not_dynamic("dynamic_dims")

    def set_dynamic_shape(self, shape: str) -> int:
        """Refused: the OM is static."""
        return self._not_dynamic("input_shape_range")

    def _not_dynamic(self, parameter: str) -> int:
        say(f"[ERROR] the {parameter} parameter is not specified for model conversion\n")
        raise RuntimeError(FAILURE)

    def create_tensor_from_fileslist(self, desc: tensor_desc, files: list[str]) -> Tensor:
        """The files' bytes, one after the other, as a device tensor of `desc`'s shape and type."""
        data = b"".join(Path(file).read_bytes() for file in files)
        if len(data) != desc.realsize:
            raise RuntimeError(FAILURE)
        array = np.frombuffer(data, _numpy_type(desc.datatype)).reshape(desc.shape)  # one axis of it may be -1
        return acl_tensor.on_device(array, self._device)

    def _unload(self) -> None:
        if self._model is not None:
            self._model.free()
            self._model = None
            say(f"[INFO] unload model success, model Id is {self._id}\n")

    def __repr__(self) -> str:
        def lines(descs: list[tensor_desc]) -> str:
            return "".join(
                f"\n  #{number}    {desc.name}  ({', '.join(map(str, desc.shape))})  {desc.datatype.name}  "
                f"{desc.size}  {desc.realsize}"
                for number, desc in enumerate(descs)
            )

        return f"<Model>\ndevice:\t{self._device}\ninput:{lines(self._inputs)}\noutput:{lines(self._outputs)}"


def apply_fault(outputs: list[NDArray[Any]], played: Scenario) -> list[NDArray[Any]]:
    """The outputs as the scenarios `run=nan`, `inf`, `wrong` and `short` would have them."""
    for array in outputs:
        if played.run in ("nan", "inf") and array.dtype.kind == "f" and array.ndim > 1:
            array[:, 0] = float(played.run)
        if played.run == "wrong" and array.dtype.kind == "f" and array.ndim == 3 and array.shape[2] == 5:
            array[..., :4:2] += _SHIFT * (array[..., 4:] > 0)
    if played.run == "short":
        return [np.ascontiguousarray(array[:, :-1]) if array.ndim > 1 else array[:-1] for array in outputs]
    return outputs


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """A device that ends or fails, in the module's words."""
    try:
        yield
    except DeviceLost:
        say(LOST)
        raise RuntimeError(FAILURE) from None
    except DeviceRefused as error:
        say(f"EZ9999: Inner Error!\n        {error}\n[ERROR] acl execute failed:507011\n")
        raise RuntimeError(FAILURE) from None


def _numpy_type(kind: dtype) -> np.dtype[Any]:
    return np.dtype({"double": "float64"}.get(kind.name, kind.name))


def _describe(desc: TensorDesc, batch: int) -> tensor_desc:
    size = desc.at(batch).nbytes
    layout = 1 if desc.nhwc else 0 if len(desc.shape) == 4 else 2  # NHWC, NCHW, ND
    return tensor_desc(desc.name, acl_tensor.acl_type(desc.dtype), layout, list(desc.shape), size, size)
