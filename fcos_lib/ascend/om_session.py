"""The session of a compiled OM on the NPU: a `Session` over `aclruntime`, all three of its generations.

aclruntime compares nothing but byte counts, tells its causes on stdout only, and keeps its context per thread (or, before
2024, one for the process). This session checks shapes and dtypes itself, quotes the causes, and stays in one thread of one
process. The only importer of aclruntime.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.ascend.acl_errors import import_failure, runtime_error
from fcos_lib.ascend.generations import choose_batch, forget_run_times, read_run_times
from fcos_lib.ascend.om_tensors import (
    Tensor,
    check_inputs,
    output_places,
    proposal_places,
    read_tensors,
    tap_places,
)
from fcos_lib.ascend.plain_path import PlainPaths
from fcos_lib.ascend.process import Console
from fcos_lib.ascend.watchdog import guard
from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import DeviceError, FcosError, SessionError
from fcos_lib.stream.sessions import Outputs, check_input, check_outputs

_LOG_WARNINGS = 3
_PLOG = "the newest plog in $HOME/ascend/log"
_OTHER_WHEEL = "the installed aclruntime does not fit: install the wheel of this CANN release"


class OmSession:
    """The candidate: one OM at one batch size on one device."""

    def __init__(
        self,
        om: Path,
        contract: ModelContract,
        batch: int,
        device_id: int = 0,
        layout: InputLayout = InputLayout.FLOAT_NCHW,
    ) -> None:
        """Load `om`, which takes batches in `layout`; if it has profiles, choose the one for `batch`.

        `SessionError` if the file is missing, cannot be loaded here or is not the contract's model in this layout and at
        this batch size; `DeviceError` if aclruntime is missing or the device cannot be opened.
        """
        if not om.is_file():
            raise SessionError(f"there is no OM at {om}", "compile it first")
        if not 0 <= device_id <= 255:  # aclruntime's own bound
            raise DeviceError(f"device id {device_id} is out of range", "pass an id between 0 and 255")
        self.contract = contract
        self.layout = layout
        self.path = om.resolve()  # newer aclruntime refuses links, and relative paths break when it changes the folder
        self.batch = batch
        self.device_id = device_id
        self.labels_widened = False
        """Whether the last labels came as int32 and were made int64, which loses nothing."""
        self.has_run = False
        """Whether anything ran since the load or `reset_timings`, whatever the runtime says of times."""
        self.stand_in = False
        """Whether this aclruntime is an emulator's, so that nothing it returns may be reported as hardware."""
        self._owner = (os.getpid(), threading.get_ident())
        self._session: Any = None
        self._console = Console()
        try:
            with self._calling(
                "importing aclruntime for", "aclruntime cannot be imported", DeviceError, f"look at {_PLOG}"
            ):
                runtime = _import_aclruntime()
            self.stand_in = bool(getattr(runtime, "STAND_IN", False))
            self._base_tensor = runtime.BaseTensor
            inputs, self._tensors = self._load(runtime)
            check_inputs(inputs, contract, batch, om, layout)
            self._labels, self._dets = output_places(self._tensors, contract, batch, om)
        except BaseException:
            with contextlib.suppress(DeviceError):
                self.close()
            raise

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Detections for a batch in the session's layout with N the OM's batch size, computed and copied back.

        `SessionError` if the input or what comes back breaks the contract, or from another thread or process than the
        one that loaded the OM; `DeviceError` if the device fails.
        """
        return self._outputs(self._run(batch))

    def run_and_proposals(self, batch: NDArray[Any]) -> tuple[Outputs, NDArray[np.float32], NDArray[np.float32]]:
        """Detections and what reached NMS, boxes float32[N, M, 4] and scores float32[N, M, C], NaN in any of them included.

        Errors as of `run`; `SessionError` if the OM was not compiled to return its proposals.
        """
        boxes, scores = proposal_places(self._tensors, self.contract, self.batch, self.path)
        arrays = self._run(batch)
        return self._outputs(arrays, finite_only=False), arrays[boxes], arrays[scores]

    def run_and_taps(self, batch: NDArray[Any], taps: Sequence[str]) -> tuple[Outputs, dict[str, NDArray[np.float32]]]:
        """Detections, what reached NMS (by the contract's names), and tensors of the network's inside, NaN included.

        Errors as of `run`; `SessionError` if the OM was not compiled to return them all.
        """
        boxes, scores = proposal_places(self._tensors, self.contract, self.batch, self.path)
        positions = dict(zip(self.contract.proposal_names, (boxes, scores), strict=True))
        positions |= tap_places(self._tensors, taps, self.batch, self.path)
        arrays = self._run(batch)
        tensors = {name: np.asarray(arrays[position], np.float32) for name, position in positions.items()}
        return self._outputs(arrays, finite_only=False), tensors

    def _outputs(self, arrays: list[NDArray[Any]], *, finite_only: bool = True) -> Outputs:
        labels = arrays[self._labels]
        self.labels_widened = labels.dtype == np.int32
        if self.labels_widened:
            labels = labels.astype(np.int64)
        return check_outputs(labels, arrays[self._dets], self.contract, self.batch, finite_only=finite_only)

    def _run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """Every output of the OM in its order, copied to the host."""
        session = self._own()
        check_input(batch, self.contract, self.batch, self.layout)
        failed = f"{self.path.name} failed on device {self.device_id} at batch size {self.batch}"
        with self._calling("a run of", failed, DeviceError, f"look at npu-smi info and at {_PLOG}"):
            # A BaseTensor is an address: `batch` has to outlive the call, and does.
            feeds = [self._base_tensor(batch.ctypes.data, batch.nbytes)]
            self.has_run, arrays = True, []
            for tensor in session.run([tensor.name for tensor in self._tensors], feeds):
                tensor.to_host()
                arrays.append(np.array(tensor))
        if len(arrays) != len(self._tensors):
            outputs = f"returned {len(arrays)} outputs and describes {len(self._tensors)}"
            raise SessionError(f"{self.path.name} {outputs}", _OTHER_WHEEL)
        return arrays

    def compute_ms(self) -> list[float]:
        """Milliseconds of each run since the load or `reset_timings`, on the device only: no copies.

        Old aclruntime gives durations. New gives (start, end) since the load as float32, so that the difference is coarse
        in an old session: 0.06 ms after 17 minutes, 0.5 ms after 70 (aclruntime source).
        """
        with self._timing():
            return read_run_times(self._own())

    def reset_timings(self) -> None:
        """Forget the runs so far, such as those that warm up."""
        with self._timing():
            forget_run_times(self._own())
        self.has_run = False

    def _timing(self) -> contextlib.AbstractContextManager[None]:
        failed = f"aclruntime cannot tell how long runs of {self.path.name} took"
        return self._calling("asking for times of", failed, DeviceError, _OTHER_WHEEL)

    def close(self) -> None:
        """Unload the model. Closing twice is harmless; in a forked child nothing happens, the device is the parent's.

        Old aclruntime unloads when its session is dropped. Its `finalize`, which would tear down the device for every
        session of the process, is left to the end of the process.
        """
        if self._session is None:
            self._console.close()
            return
        if os.getpid() != self._owner[0]:
            return
        session = self._own()
        try:
            with self._calling("unloading", f"{self.path.name} cannot be unloaded", DeviceError, "restart the process"):
                self._session = None
                if hasattr(session, "free_resource"):
                    session.free_resource()
                del session
        finally:
            self._console.close()

    def __enter__(self) -> OmSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # what failed first is what the reader needs
            with contextlib.suppress(DeviceError, SessionError):
                self.close()

    def _load(self, runtime: ModuleType) -> tuple[list[Tensor], list[Tensor]]:
        failed = f"aclruntime cannot load {self.path} on device {self.device_id}"
        advice = f"compile the OM again with this machine's CANN, and look at {_PLOG}"
        with PlainPaths() as plain, self._calling("loading", failed, SessionError, advice):
            options = runtime.session_options()
            options.log_level = _LOG_WARNINGS
            path = str(plain.file(self.path))
            self._session = runtime.InferenceSession(path, int(self.device_id), options)
            choose_batch(self._session, self.batch)
            return read_tensors(self._session, self.batch)

    @contextlib.contextmanager
    def _calling(self, doing: str, failed: str, unknown: type[FcosError], advice: str) -> Iterator[None]:
        """Catch what a call prints, and let this process end if the call never does: nothing else of it would run.

        What it raises becomes an error with its cause, `unknown` and `advice` if that is not known; what it warns of does not.
        """
        what = f"{doing} {self.path.name} on device {self.device_id}"
        try:
            with guard(what), self._console.capture(), warnings.catch_warnings():
                warnings.simplefilter("default")
                yield
        except FcosError:
            raise
        except Exception as error:  # pybind11 maps C++ exceptions to RuntimeError and argument mistakes to TypeError
            raise runtime_error(failed, self._console.text, error, unknown, advice) from error

    def _own(self) -> Any:
        """The open session, for the process and the thread that loaded it: the device's context is theirs."""
        if self._session is None:
            raise SessionError(f"the session of {self.path.name} is closed", "open another one")
        process, thread = self._owner
        if os.getpid() != process:
            raise SessionError(
                f"the session of {self.path.name} was opened in process {process} and is used in {os.getpid()}",
                "an NPU does not survive a fork: open the session in the process that runs it",
            )
        if threading.get_ident() != thread:
            raise SessionError(
                f"the session of {self.path.name} is used in another thread than the one that opened it",
                "open and run it in one thread; aclruntime never releases the GIL, so threads would gain nothing",
            )
        return self._session


def _import_aclruntime() -> ModuleType:
    """The module, or `DeviceError` with what this import error usually means."""
    try:
        import aclruntime
    except ImportError as error:
        raise import_failure(error) from error
    module: ModuleType = aclruntime
    return module
