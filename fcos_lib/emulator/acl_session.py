"""How does a session of `aclruntime` behave, whichever its generation? Loading, checking, running, and what it prints."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator import acl_tensor, scenario
from fcos_lib.emulator.acl_tensor import BaseTensor, Tensor, dtype, session_options, tensor_desc
from fcos_lib.emulator.chips import CHIPS
from fcos_lib.emulator.device import Model, apply_fault
from fcos_lib.emulator.load_texts import load_refusal
from fcos_lib.emulator.om import TensorDesc
from fcos_lib.errors import SessionError

BAD_PARAMETER = "[1][ACL: invalid parameter] "
FAILURE = "[-1][ACL: general failure] "
_model_ids = itertools.count(1)
_open_devices: set[int] = set()


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
        self._model: Model | None = None
        open_device(self._device, len(CHIPS[self._scenario.chip].places))
        if self._generation == "new":
            say("[INFO] create new context\n")
        self._model = self._load()
        self._id = next(_model_ids)
        say(f"[INFO] load model {self._path} success\n[INFO] create model description success\n")
        self._inputs = [_describe(desc) for desc in self._model.header.inputs]
        self._outputs = [_describe(desc) for desc in self._model.header.outputs]

    def _check_arguments(self) -> None:
        """The old generation finds out when loading."""

    def _load(self) -> Model:
        refusal = None
        try:
            loaded = Model(Path(self._path))
            refusal = load_refusal(loaded.header, self._scenario)
            if refusal is None:
                return loaded
        except SessionError as error:
            refusal = f"E19999: Inner Error!\n        [Model][FromData]load model from data failed: {error.found}"
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
        arrays = self._arrays(feeds)
        names = [desc.name for desc in self._outputs]
        for name in output_names:
            if name not in names:
                say(f"[ERROR] outnames {name} not valid\n")
                raise RuntimeError(FAILURE)
        outputs: list[NDArray[Any]] = []
        for turn in range(self._options.loop):
            outputs = self._execute(loaded, arrays)
            if self._options.loop > 1:
                say(f"\rloop inference exec: ({turn + 1}/{self._options.loop})")
        wanted = output_names or names
        return [acl_tensor.on_device(outputs[names.index(name)], self._device) for name in wanted]

    def _execute(self, loaded: Model, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        start = time.time()
        if self._scenario.run == "fail":
            say("[ERROR] acl execute failed:1\n")
            raise RuntimeError(FAILURE)
        outputs = apply_fault(loaded.execute(arrays), self._scenario)
        self._record(start, time.time())
        return outputs

    def _record(self, start: float, end: float) -> None:
        raise NotImplementedError

    def _ready(self) -> Model:
        if self._model is None:
            say("[WARN] no model had been loaded\n")
            raise RuntimeError(FAILURE)
        return self._model

    def _arrays(self, feeds: Any) -> list[NDArray[Any]]:
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
        raw = [feed.copied() if isinstance(feed, BaseTensor) else feed.raw() for feed in feeds]
        return [
            data.view(_numpy_type(desc.datatype)).reshape(desc.shape)
            for data, desc in zip(raw, self._inputs, strict=True)
        ]

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
        """Every OM of the emulator is static: 0."""
        return 0

    def set_custom_outsize(self, sizes: list[int]) -> int:
        """Accepted; static outputs have their own sizes."""
        if len(sizes) > len(self._outputs):
            raise RuntimeError("length of custom size list out of range. Please check.")
        return 0

    def set_dynamic_batchsize(self, size: int) -> int:
        """Refused: the OM is static."""
        if self._generation == "new" and not 1 <= size <= 4096:
            raise RuntimeError("dynamic batchsize out of range. Please check.")
        return self._not_dynamic("dynamic_batch_size")

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
        array = np.frombuffer(data, _numpy_type(desc.datatype)).reshape(desc.shape)
        return acl_tensor.on_device(array, self._device)

    def _unload(self) -> None:
        if self._model is not None:
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


def _numpy_type(kind: dtype) -> np.dtype[Any]:
    return np.dtype({"double": "float64"}.get(kind.name, kind.name))


def _describe(desc: TensorDesc) -> tensor_desc:
    size = int(np.prod(desc.shape)) * np.dtype(desc.dtype).itemsize
    layout = 1 if desc.nhwc else 0 if len(desc.shape) == 4 else 2  # NHWC, NCHW, ND
    return tensor_desc(desc.name, acl_tensor.acl_type(desc.dtype), layout, list(desc.shape), size, size)
