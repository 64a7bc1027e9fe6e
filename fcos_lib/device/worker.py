"""Worker: the process of a cluster that has an NPU. It holds the device's lease and one session, and runs what it is sent.

Its host has to have the software that the driver's has, and its device is asked for a canary before the first shard and after
the last one. All calls into the runtime come from one thread, which owns the session; a feed prepares the pictures of the
next shards meanwhile, from files in a folder of this process, which goes with it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import stat
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fcos_lib.device.bench import Answer, Bench, Task
from fcos_lib.device.lease import lock_folder
from fcos_lib.device.npus import Device, find_devices, use_emulator
from fcos_lib.errors import DeviceError, FcosError
from fcos_lib.store.sources import LIBRARIES, dependencies, installed
from fcos_lib.stream.cluster import this_host, this_node
from fcos_lib.stream.dispatch_devices import Failed, Job, Ready, Refused, Sent
from fcos_lib.stream.journal_shards import Maker

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
"""Set by Ray for each process, to the id of its device among those of the host."""
CHIP = "chip"
"""The one fact of `software_of` that has to be the same in any case: an OM is compiled for one."""


def maker_of(device: Device, host: str = "") -> Maker:
    """The device as a journal names it."""
    physical = f"{device.npu.npu_id}/{device.npu.chip_id}" if device.npu else "unknown"
    return Maker(host or socket.gethostname(), device.device_id, physical)


def software_of(device: Device) -> dict[str, str]:
    """What has to be equal on every host for its results to be the same."""
    code = dependencies(__name__)
    return {
        CHIP: device.soc_version,
        "CANN": device.toolkit.cann_version,
        "driver": device.toolkit.driver_version,
        "firmware": device.toolkit.firmware_version,
        "onnxruntime": installed(*LIBRARIES["onnxruntime"]),
        "OpenCV": installed(*LIBRARIES["cv2"]),
        "numpy": installed(*LIBRARIES["numpy"]),
        "fcos_lib": str(code["sources"]),
    }


class Worker:
    """One device of a cluster. Methods may be called from several threads; the calls of `run` are answered in order."""

    def __init__(self) -> None:
        """Begin the device's thread."""
        self._who, self._folder = "an NPU", "\0"
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._bench: Bench | None = None
        threading.Thread(target=self._serve, name="device", daemon=True).start()

    def start(self, job: Job, om: bytes) -> Ready | Refused | Failed:
        """Take the device and make sure of it."""
        answer: Ready | Refused | Failed = self._ask(lambda: self._start(job, om))
        return answer

    def run(self, shard: int, pictures: Sequence[Sent]) -> Answer | Failed:
        """Detections of the pictures by picture id, in network pixels and in their order."""
        answer: Answer | Failed = self._ask((shard, pictures))
        return answer

    def ask_again(self) -> bool | Failed:
        """Whether the device still finds in the canary's pictures what it found: True, or what failed."""
        answer: bool | Failed = self._ask(self._ask_again)
        return answer

    def stop(self) -> bool | Failed:
        """Give the device back and remove what was written."""
        answer: bool | Failed = self._ask(self._stop)
        return answer

    def _ask(self, what: Any) -> Any:
        future: Future[Any] = Future()
        self._tasks.put(Task(what, future))
        try:
            return future.result()
        except FcosError as error:
            found = error.found.replace(self._folder, "")  # the names of pictures are enough
            # The other side knows the kinds of `fcos_lib.errors`, not those that a module makes of them for itself.
            kind = next(each.__name__ for each in type(error).__mro__ if each.__module__ == FcosError.__module__)
            return Failed(self._who, kind, found, error.advice)

    def _serve(self) -> None:
        """The device's thread: everything that touches the runtime happens here."""
        while True:
            task = self._tasks.get()
            if callable(task.what):
                _settle(task.future, task.what)
            else:
                self._stream(task)

    def _start(self, job: Job, om: bytes) -> Ready | Refused:
        device_id, host = int(os.environ.pop(VISIBLE, "0").split(",")[0]), this_host()
        self._who = f"NPU {device_id} on {host}"
        folder = node_folder()
        device = _device(device_id, folder, job.stand_in)
        differs = _differences(job, software_of(device))
        if differs:
            return Refused(self._who, differs)
        bench = Bench(maker_of(device, host), job, contextlib.ExitStack(), folder)
        self._who, self._folder, self._bench = str(bench.maker), f"{bench.folder}/pictures/", bench
        try:
            return bench.open(device, om, lock_folder(device, folder))
        except FcosError as error:
            self._stop()
            if isinstance(error, DeviceError) and not bench.held:
                return Refused(self._who, error.found)
            raise

    def _ask_again(self) -> bool:
        try:
            return self._bench is not None and self._bench.ask()
        except DeviceError:
            self._stop()  # or its end would count as another fault
            raise

    def _stop(self) -> bool:
        if self._bench:
            self._bench.close()
            self._bench = None
        return True

    def _stream(self, first: Task) -> None:
        """Run shards until none waits; those behind the first are prepared while the ones before them run."""
        taken: deque[Task] = deque([first])
        after: list[Task] = []
        try:
            if self._bench is None:
                raise DeviceError("this worker has given its device back", "start it first")
            self._bench.run(taken, self._following(taken, after))
        except FcosError as error:
            for task in taken:
                task.future.set_exception(error)
            if isinstance(error, DeviceError):
                self._stop()
        for task in after:
            _settle(task.future, task.what)

    def _following(self, taken: deque[Task], after: list[Task]) -> Iterator[Task]:
        """The first task, and those that wait by the time they are asked for; ends with the first that is no shard."""
        yield taken[0]
        while not after:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            if callable(task.what):
                after.append(task)
            else:
                taken.append(task)
                yield task


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


def _device(device_id: int, folder: Path, stand_in: bool) -> Device:
    """The device with this id here: of the CANN of this environment, or of the emulator where the driver's is one."""
    try:
        return find_devices((device_id,))[0]
    except DeviceError:
        if not stand_in:
            raise
    return use_emulator(folder / "emulator", (device_id,))[0]


def _differences(job: Job, here: dict[str, str]) -> str:
    """In what this host differs from the driver's, as far as that counts."""
    checked = (CHIP, "fcos_lib") if job.mixed else tuple(job.software)
    differs = [
        f"{name} {here.get(name)} there, {job.software[name]} here"
        for name in checked
        if here.get(name) != job.software[name]
    ]
    return (
        "; ".join(differs) + ("" if job.mixed else " (--cluster-mixed allows all but another chip)") if differs else ""
    )


def node_folder() -> Path:
    """A folder of this node for its workers, without what dead ones left."""
    folder = Path(tempfile.gettempdir()) / f"fcos-node-{this_node()[:16]}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    there = os.lstat(folder)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o077:
        raise DeviceError(f"{folder} is not this user's own folder", "look who made it, and remove it")
    for left in folder.glob("worker-*"):
        process = left.name.split("-")[1]
        if not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)
    return folder
