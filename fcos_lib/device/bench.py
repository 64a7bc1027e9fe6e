"""Bench: a device with its session in a process of a cluster, and the folder of the pictures that it is sent.

Shards are run one after the other; those behind the first are decoded while the ones before them run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.ascend.watchdog import watch
from fcos_lib.device.canary import Canary
from fcos_lib.device.lease import lease
from fcos_lib.device.npus import Device
from fcos_lib.errors import DeviceError, FeedError, SessionError
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.dispatch_devices import Job, Ready, Sent
from fcos_lib.stream.feed import Batch, Feed, seen_in
from fcos_lib.stream.journal_shards import Maker
from fcos_lib.stream.sessions import Detections, Outputs, Session

Answer = dict[int, Detections]
"""Of a shard: detections by picture id, in network pixels."""


class Task:
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
        note = self.folder.parent / f"ended-npu-{device.device_id}.txt"
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
        canary = Canary(self.folder / "canary", job.run_id, written(job.canary, self.folder / "canary"))
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

    def run(self, taken: deque[Task], tasks: Iterator[Task]) -> None:
        """Answer each of the tasks in turn; `taken` are those that have been pulled and not answered."""
        job, results = self._job, Answer()
        with self._blaming(), Feed(self._groups(tasks), job.contract, job.batch, job.layout) as feed:
            for batch in feed:
                results |= seen_in(batch, self._outputs(batch))
                shard, pictures = taken[0].what
                if len(results) == len(pictures):
                    answer, results = results, Answer()
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

    def _groups(self, tasks: Iterator[Task]) -> Iterator[tuple[Picture, ...]]:
        for task in tasks:
            shard, pictures = task.what
            there = written(pictures, self._place(shard))
            for start in range(0, len(there), self._job.batch):
                yield there[start : start + self._job.batch]

    def _place(self, shard: int) -> Path:
        return self.folder / "pictures" / str(shard)


def written(pictures: Sequence[Sent], folder: Path) -> tuple[Picture, ...]:
    """The pictures as files of a folder, under their names."""
    folder.mkdir(parents=True, exist_ok=True)
    there = []
    for picture in pictures:
        path = folder / Path(picture.name).name
        if path.exists():  # folders of the dataset may have pictures of the same name
            path = folder / str(picture.id) / path.name
            path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture.data)
        there.append(
            Picture(picture.id, path, picture.width, picture.height, picture.name if "/" in picture.name else "")
        )
    return tuple(there)
