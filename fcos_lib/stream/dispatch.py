"""Dispatch: an evaluation on all devices of a cluster, every shard counted exactly once.

The one process that runs this reads pictures, hands out shards and writes the journal. A device is believed in three steps:
its host has the software that this host has, its canary finds what the other devices' canaries find, and it still does when
everything is done. What a device answered before it lost that trust is forgotten and run again on others. A shard whose
device died goes back to the rest; one that takes much longer than all others is given to a second device as well, and the
first answer counts: the second has to be the same.

Nothing here knows Ray: whatever can do what `cluster.Pool` does will do, so that every misfortune can be played without a cluster.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from fcos_lib.errors import DeviceError
from fcos_lib.stream.dispatch_devices import (
    CanaryVotes,
    Device,
    Failed,
    Job,
    Ready,
    Refused,
    calls_at_once,
    sent,
)
from fcos_lib.stream.evaluation import Facts, facts_of, merged
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker
from fcos_lib.stream.progress import Bar, picture_bar
from fcos_lib.stream.sessions import Detections

if TYPE_CHECKING:
    from fcos_lib.stream.cluster import Pool

LOOK_S = 0.5
"""Between two looks for new nodes, while no answer comes."""
PATIENCE_LOOKS = 1200
"""Looks, ten minutes of them, without any device at work and any answer. Looks are counted instead of time, since a process that
was stopped has not waited."""
HOPELESS_LOOKS = 20
"""The same where every device there is has been refused: time for another node to join."""
MOST_LOST_STARTS = 6
"""Processes in a row that may die before one says that it is ready."""
STOP_S = 20.0
"""In which devices are given back in good order; after that their processes are ended."""
LATE, LATE_S = 3.0, 2.0
"""A shard that has been out for so many times the longest answer so far, and so many seconds, goes to a second device as well."""


def detect_on_cluster(
    pool: Pool, om: bytes, job: Job, journal: Journal, *, progress: str = "evaluate"
) -> tuple[dict[int, Detections], Facts]:
    """Detections of every picture by picture id, boxes in picture pixels, and how that went: as `detect_journaled`, on all devices.

    `DisagreementError` if two devices find different things and no third one says which is right, `DeviceError` if no device
    is left or none works, and whatever the model or a picture is at fault for.
    """
    started, resumed = time.perf_counter(), journal.recorded
    with picture_bar(progress, len(journal.pictures), journal.recorded) as bar:
        dispatch = _Dispatch(pool, pool.share(om), job, journal, bar)
        try:
            dispatch.run()
        finally:
            dispatch.stop()
    detections = merged(journal, job.contract)
    return detections, facts_of(journal, resumed, started, None, dispatch.notes)


class _Dispatch:
    """One evaluation under way."""

    def __init__(self, pool: Pool, om: Any, job: Job, journal: Journal, bar: Bar) -> None:
        self._pool, self._om, self._job, self._journal, self._bar = pool, om, job, journal, bar
        self._devices: dict[int, Device] = {}
        self._votes = CanaryVotes()
        self._todo = deque(journal.unfinished())
        self._longest, self._most, self._lost_starts = 0.0, calls_at_once(job.batch), 0
        self.notes: list[str] = []

    def run(self) -> None:
        """Until every shard is recorded, and the devices behind the shards have been asked again."""
        idle = 0
        while not self._over():
            for worker in self._pool.grow():
                self._devices[worker] = Device()
                self._pool.call(worker, "start", self._job, self._om, note=("start", None))
            self._hand_out()
            answered = False
            for worker, (what, shard), result in self._pool.wait(LOOK_S):
                answered = True
                if worker in self._devices:
                    self._take(worker, what, shard, result)
            idle = 0 if answered or any(device.out for device in self._devices.values()) else idle + 1
            self._refuse_to_wait(idle)
        for device in self._devices.values():
            if device.out:
                self._note(f"{device.name} did not answer in time, and others did its work")
        for sentence in self._votes.outvoted():
            self._note(sentence)

    def stop(self) -> None:
        """Have the devices given back."""
        waiting = [worker for worker, device in self._devices.items() if device.ready and not device.out]
        for worker in waiting:
            self._pool.call(worker, "stop", note=("stop", None))
        ends = time.monotonic() + STOP_S
        while waiting and time.monotonic() < ends:
            for worker, _, _ in self._pool.wait(LOOK_S):
                waiting = [other for other in waiting if other != worker]

    def _over(self) -> bool:
        if not self._journal.complete:
            return False
        behind = set(self._journal.makers.values())
        for worker, device in list(self._devices.items()):
            if not device.ready or device.ready.maker not in behind or device.confirmed:
                continue
            if device.out and self._is_late(min(device.out.values())):
                self._note(f"{device.name} did not answer in time, and others did its work")
                self._lose(worker)
            elif not device.out and not device.asked:
                device.asked = True
                self._pool.call(worker, "ask_again", note=("ask", None))
        return all(
            device.confirmed or not device.ready or device.ready.maker not in behind
            for device in self._devices.values()
        )

    def _hand_out(self) -> None:
        """A shard for each device that is trusted, then a second one for each, as far as there are shards."""
        trusted = [(worker, device) for worker, device in self._devices.items() if self._is_trusted(device)]
        for depth in range(self._most):
            for worker, device in trusted:
                if len(device.out) == depth and device.asked == device.confirmed:
                    shard = self._next_shard(device)
                    if shard is not None:
                        device.out[shard] = time.monotonic()
                        pictures = sent(self._journal.shards[shard])
                        self._pool.call(worker, "run", shard, pictures, note=("run", shard))

    def _next_shard(self, device: Device) -> int | None:
        """The next one that nobody has; if there is none, one that another device has had for too long."""
        if self._todo:
            return self._todo.popleft()
        if device.out or self._journal.complete:
            return None
        given = Counter(shard for other in self._devices.values() for shard in other.out)
        for other in self._devices.values():
            for shard, since in other.out.items():
                if given[shard] == 1 and self._is_late(since) and shard not in self._journal.makers:
                    return shard
        return None

    def _is_late(self, since: float) -> bool:
        return bool(self._longest) and time.monotonic() - since > LATE * self._longest + LATE_S

    def _take(self, worker: int, what: str, shard: int | None, result: Any) -> None:
        """One answer."""
        device = self._devices[worker]
        since = device.out.pop(shard, None) if shard is not None else None
        if isinstance(result, Exception):
            self._lost_starts += what == "start"
            self._note(f"{device.name} was lost: {result}")
            self._return(shard)
            self._lose(worker)
        elif isinstance(result, Refused):
            device.refused = True
            self._note(f"{result.who} is left out: {result.why}")
        elif isinstance(result, Failed):
            if result.kind != DeviceError.__name__:
                raise result.error()
            self._note(f"{result.who} failed: {result.found}")
            self._return(shard)
            if what == "ask" and device.ready:
                self._distrust(device.ready.maker)
            self._lose(worker)
        elif isinstance(result, Ready):
            self._start(device, result)
        elif what == "ask":
            device.confirmed = True
        elif shard is not None and device.ready:
            if self._is_trusted(device):
                self._longest = max(self._longest, time.monotonic() - since if since else 0.0)
                self._journal.record(shard, result, device.ready.maker)
                device.confirmed = device.asked = False
                self._show()
            else:
                self._return(shard)

    def _start(self, device: Device, ready: Ready) -> None:
        """A device is there: it counts among those that found the same in the canary, and the most numerous are trusted."""
        device.ready = ready
        self._lost_starts = 0
        for fault in ready.faults:
            self._note(f"{ready.maker}, before: {fault}")
        for maker in self._votes.add(ready.maker, ready.canary):
            self._distrust(maker)
        self._show()

    def _is_trusted(self, device: Device) -> bool:
        return device.ready is not None and self._votes.is_trusted(device.ready.maker)

    def _distrust(self, maker: Maker) -> None:
        """Forget what a device answered."""
        shards = [shard for shard, other in self._journal.makers.items() if other == maker]
        self._journal.forget(shards)
        self._todo.extendleft(reversed(shards))

    def _return(self, shard: int | None) -> None:
        """A shard that came to nothing waits again, unless somebody else has it or has done it."""
        if shard is None or shard in self._journal.makers or shard in self._todo:
            return
        if not any(shard in device.out for device in self._devices.values()):
            self._todo.appendleft(shard)

    def _lose(self, worker: int) -> None:
        """Give a process up; its shards go to others."""
        shards = list(self._devices.pop(worker).out)
        self._pool.drop(worker)
        for shard in shards:
            self._return(shard)
        self._show()

    def _refuse_to_wait(self, idle: int) -> None:
        """`DeviceError` if nobody is at work and nobody will be."""
        hopeful = [device for device in self._devices.values() if not device.refused]
        if self._lost_starts < MOST_LOST_STARTS and idle <= (PATIENCE_LOOKS if hopeful else HOPELESS_LOOKS):
            return
        why = "; ".join(self.notes[-8:]) or "the cluster has no NPU, or others hold them"
        raise DeviceError(
            f"no NPU of the cluster works for this run ({why})",
            "look at ray status and npu-smi info -t health; what is recorded is kept for the next run",
        )

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        self._bar.write(f"cluster: {sentence}", file=sys.stderr)

    def _show(self) -> None:
        self._bar.n = self._journal.recorded
        self._bar.set_postfix_str(f"{sum(map(self._is_trusted, self._devices.values()))} devices", refresh=True)
