"""The processes that decode pictures: how they are started, kept busy, watched and ended.

By one thread and a few system calls per picture, since all this is done between two runs of a device that waits. What they
share has no name, and they end when nobody holds the other end of their pipes: nothing stays behind, whatever happens.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import FeedError, refusal_as
from fcos_lib.files import some
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.decoder import ANSWER, FAILED, TAKEN, TASK, Slots, failure, task_note

_LOOK_MS = 200
"""How often a wait is interrupted to see whether every process is still there."""
PATIENCE_LOOKS = 1500
"""Looks, five minutes of them, in which some process has to answer. The largest picture that is decoded takes seconds; the rest is
for a disk that others use. Looks are counted instead of time, since a process that was stopped has not waited."""
_REAP_S = 10.0


class DecoderPool:
    """Processes that prepare pictures in slots, which they share with this one. To be closed; not shared between threads."""

    def __init__(self, contract: ModelContract, layout: InputLayout, count: int, most: int) -> None:
        """`count` slots and `most` processes; `FeedError` if there is no memory for them."""
        self._most = most
        self._processes: list[subprocess.Popen[bytes]] = []
        self._holds: dict[int, int] = {}  # the slot that each process works on
        self._open: dict[int, Picture | None] = {}  # what has yet to be prepared, by slot
        self._failed: set[int] = set()
        with ExitStack() as stack:
            with refusal_as(FeedError, f"memory for {count} pictures cannot be had", "use a smaller batch size"):
                self._file = _owned(_nameless_file(), stack)
                self._their_tasks, self._tasks = (_owned(end, stack) for end in os.pipe())
                self._answers, self._their_answers = (_owned(end, stack) for end in os.pipe())
                self._slots = Slots.create(self._file, contract, layout, count)
            self._descriptors = stack.pop_all()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    def order(self, slots: range, pictures: Sequence[Picture | None]) -> None:
        """Have these pictures, or padding, prepared in these slots, which nobody uses."""
        for slot, picture in zip(slots, pictures, strict=True):
            self._slots.write_note(slot, task_note(picture))
            self._open[slot] = picture
        wanted = sum(picture is not None for picture in self._open.values())
        while len(self._processes) < max(1, min(self._most, wanted)):
            self._start()
        os.write(self._tasks, b"".join(TASK.pack(slot) for slot in slots))

    def wait(self, slots: range) -> NDArray[Any]:
        """The tensor of these slots, as soon as they are prepared; the error of the first that could not be.

        `FeedError` if a process died, or if none answers any more.
        """
        self._check()
        looks = 0
        while not self._open.keys().isdisjoint(slots):
            looks = 0 if self._read_answers(_LOOK_MS) else looks + 1
            if looks:
                self._check()
            if looks > PATIENCE_LOOKS:
                raise self._stuck(slots)
        for slot in slots:
            if slot in self._failed:
                raise failure(*self._slots.note(slot))
        return self._slots.tensor[slots.start : slots.stop]

    def close(self) -> None:
        """End the processes, wait for that, and give back what they needed."""
        with self._descriptors:
            for process in self._processes:
                process.kill()
            for process in self._processes:
                with suppress(subprocess.TimeoutExpired):  # one that hangs inside the kernel cannot be killed
                    process.wait(_REAP_S)
        del self._slots  # the memory goes when the last batch does

    def _start(self) -> None:
        # -c leaves the search path alone until the program sets it to this process's own.
        paths = [*map(str, sys.path), str(Path(__file__).resolve().parents[2])]
        program = f"import sys; sys.path[:] = {paths!r}; from fcos_lib.stream.decoder import main; main()"
        theirs = (self._file, self._their_tasks, self._their_answers)
        with refusal_as(FeedError, "a process to decode pictures cannot be started"):
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(len(self._processes)), *map(str, theirs)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=theirs,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # or numpy prepares a thread per core
                start_new_session=True,  # Ctrl-C is for this process, which then ends the others
            )
        self._processes.append(process)

    def _read_answers(self, patience_ms: int) -> bool:
        """Take in what the processes have to say; False if that is nothing."""
        if not self._poll.poll(patience_ms):
            return False
        for number, slot, what in ANSWER.iter_unpack(os.read(self._answers, ANSWER.size * 1024)):
            if what == TAKEN:
                self._holds[number] = slot
            else:
                del self._holds[number], self._open[slot]
            if what == FAILED:
                self._failed.add(slot)
        return True

    def _stuck(self, slots: range) -> FeedError:
        """The error for slots that do not get prepared, though every process lives."""
        missing = [self._open[slot] for slot in slots if slot in self._open]
        held = [picture for slot in self._holds.values() if (picture := self._open.get(slot))]
        names = ", ".join(str(picture.path) for picture in held[:3]) or "none of them has a picture"
        return FeedError(
            f"{len(missing)} pictures of a batch are missing ({some(picture.id for picture in missing if picture)}): no "
            f"process that decodes pictures has answered for {PATIENCE_LOOKS * _LOOK_MS / 1000:g} s; they work on: {names}",
            "look whether these files can be read (a network folder may hang) and whether the processes are stopped",
        )

    def _check(self) -> None:
        """`FeedError` if a process has died."""
        for number, process in enumerate(self._processes):
            status = process.poll()
            if status is not None:
                while self._read_answers(0):
                    pass
                raise _lost(status, self._open.get(self._holds.get(number, -1)))


def _lost(status: int, picture: Picture | None) -> FeedError:
    """The error for a process that ended; `picture` is the one that it had, if it had one."""
    try:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    except ValueError:
        how = f"was killed by signal {-status}"
    return FeedError(
        f"a process that decodes pictures {how} {f'while it had {picture.path}' if picture else 'while it had no picture'}",
        "look for 'Out of memory' in dmesg"
        if status == -signal.SIGKILL
        else "what it printed is above; decode that picture alone to see whether it is to blame",
    )


def _owned(descriptor: int, stack: ExitStack) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _nameless_file() -> int:
    """A descriptor of memory that nothing can leave behind, whatever happens to this process."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fcos-feed")
    with tempfile.TemporaryFile(prefix="fcos-feed-") as file:
        return os.dup(file.fileno())
