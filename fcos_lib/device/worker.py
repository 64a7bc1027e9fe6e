"""Worker: the process of a cluster that has an NPU. It holds the device's lease and one session, and runs what it is sent.

Its host has to have the software that the driver's has, and its device is asked for a canary before the first shard and after
the last one. All calls into the runtime come from one thread, which owns the session; a feed prepares the pictures of the
next shards meanwhile, from files in a folder of this process, which goes with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.ascend.toolkit import firmware_version
from fcos_lib.ascend.watchdog import watch
from fcos_lib.device.canary import Canary
from fcos_lib.device.lease import lease, lock_folder
from fcos_lib.device.npus import Device, find_devices, use_emulator
from fcos_lib.errors import DeviceError, FcosError, FeedError, SessionError
from fcos_lib.store.sources import LIBRARIES, dependencies, installed
from fcos_lib.stream.cluster import this_host, this_node
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.dispatch import Failed, Job, Ready, Refused, Sent
from fcos_lib.stream.feed import Batch, Feed, seen_in
from fcos_lib.stream.journal_shards import Maker
from fcos_lib.stream.sessions import Detections, Outputs, Session

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
"""Set by Ray for each process, to the id of its device among those of the host."""
CHIP = "chip"
"""The one fact of `software_of` that has to be the same in any case: an OM is compiled for one."""

_Answer = dict[int, Detections]


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
        "firmware": firmware_version(os.environ),
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
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._bench: Bench | None = None
        threading.Thread(target=self._serve, name="device", daemon=True).start()

    def start(self, job: Job, om: bytes) -> Ready | Refused | Failed:
        """Take the device and make sure of it."""
        answer: Ready | Refused | Failed = self._ask(lambda: self._start(job, om))
        return answer

    def run(self, shard: int, pictures: Sequence[Sent]) -> _Answer | Failed:
        """Detections of the pictures by picture id, in network pixels and in their order."""
        answer: _Answer | Failed = self._ask((shard, pictures))
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
        self._tasks.put(_Task(what, future))
        try:
            return future.result()
        except FcosError as error:
            found = error.found.replace(self._folder, "")  # the names of pictures are enough
            return Failed(self._who, type(error).__name__, found, error.advice)

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

    def _stream(self, first: _Task) -> None:
        """Run shards until none waits; those behind the first are prepared while the ones before them run."""
        taken: deque[_Task] = deque([first])
        after: list[_Task] = []
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

    def _following(self, taken: deque[_Task], after: list[_Task]) -> Iterator[_Task]:
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


class _Task:
    """Something to do on the device's thread: a function, or a shard with its pictures; and where the answer goes."""

    def __init__(self, what: Any, future: Future[Any]) -> None:
        self.what, self.future = what, future


class Bench:
    """A session and the folder of this process; what runs shards on it."""

    def __init__(self, maker: Maker, job: Job, stack: contextlib.ExitStack, node_folder: Path) -> None:
        """`stack` is what has to be given back; the session comes later."""
        self.maker, self.held = maker, False
        self._job, self._stack = job, stack
        self.folder = Path(tempfile.mkdtemp(prefix=f"worker-{os.getpid()}-", dir=node_folder))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.session: Session | None = None
        self.ask_canary: Callable[[], None] = lambda: None
        self.blame: Callable[[DeviceError], None] = lambda error: None

    def open(self, device: Device, om: bytes, locks: Path) -> Ready:
        """Take the lease, load the OM and ask the canary; `DeviceError` counts against the device."""
        job = self._job
        note = locks / f"ended-npu-{device.device_id}.txt"
        locks.mkdir(parents=True, exist_ok=True)
        told = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
        note.unlink(missing_ok=True)
        watch(job.run_time_limit, note)
        digest = hashlib.sha256(om).hexdigest()
        if digest != job.om_sha256:
            raise DeviceError(
                f"the OM that arrived on {self.maker.host} has SHA-256 {digest[:16]}, not {job.om_sha256[:16]}",
                "look at that host's memory and network; run again",
            )
        lent = self._stack.enter_context(lease([device], locks, run=job.run_id, command="a worker of a cluster"))
        self.held, self.blame = True, lent.blame
        with self._blaming():
            path = self.folder / "model.om"
            path.write_bytes(om)
            path.chmod(0o600)
            session = OmSession(path, job.contract, job.batch, device.device_id, job.layout)
            self.session = self._stack.enter_context(session)
        canary = Canary(self.folder / "canary", job.run_id, _written(job.canary, self.folder / "canary"))
        self.ask_canary = lambda: canary.ask(session, lent, job.om_sha256)
        self.ask()
        (known,) = (self.folder / "canary").glob("*.json")
        content = json.loads(known.read_text(encoding="utf-8"))
        rows = hashlib.sha256(json.dumps([content["refused"], sorted(content["rows"])]).encode()).hexdigest()[:16]
        return Ready(self.maker, rows, (*lent.faults, told) if told else tuple(lent.faults))

    def ask(self) -> bool:
        """True if the canary finds what it found; `DeviceError` if not."""
        with self._blaming():
            self.ask_canary()
        return True

    def run(self, taken: deque[_Task], tasks: Iterator[_Task]) -> None:
        """Answer each of the tasks in turn; `taken` are those that have been pulled and not answered."""
        job, results = self._job, _Answer()
        with self._blaming(), Feed(self._groups(tasks), job.contract, job.batch, job.layout) as feed:
            for batch in feed:
                results |= seen_in(batch, self._outputs(batch))
                shard, pictures = taken[0].what
                if len(results) == len(pictures):
                    answer, results = results, _Answer()
                    taken.popleft().future.set_result(answer)
                    shutil.rmtree(self._place(shard), ignore_errors=True)
        if taken:
            raise FeedError(f"the feed ended without {len(taken)} of its shards", "run again")

    def close(self) -> None:
        """Give everything back."""
        with contextlib.suppress(DeviceError, SessionError):
            self._stack.close()

    @contextlib.contextmanager
    def _blaming(self) -> Iterator[None]:
        """A `DeviceError` counts against the device, in this run."""
        try:
            yield
        except DeviceError as error:
            self.blame(error)
            raise

    def _outputs(self, batch: Batch) -> Outputs:
        if self.session is None:
            raise SessionError("this worker has no session", "start it first")
        try:
            return self.session.run(batch.tensor)
        except SessionError:  # the model's fault, unless the device has changed
            self.ask()
            raise

    def _groups(self, tasks: Iterator[_Task]) -> Iterator[tuple[Picture, ...]]:
        for task in tasks:
            shard, pictures = task.what
            written = _written(pictures, self._place(shard))
            for start in range(0, len(written), self._job.batch):
                yield written[start : start + self._job.batch]

    def _place(self, shard: int) -> Path:
        return self.folder / "pictures" / str(shard)


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


def _written(pictures: Sequence[Sent], folder: Path) -> tuple[Picture, ...]:
    """The pictures as files of a folder, under their names."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for picture in pictures:
        path = folder / Path(picture.name).name
        path.write_bytes(picture.data)
        written.append(Picture(picture.id, path, picture.width, picture.height))
    return tuple(written)


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
    for left in folder.glob("worker-*"):
        process = left.name.split("-")[1]
        if not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)
    return folder
