"""The locks of a journal's folder: the death of a process is all it takes to let others go on.

POSIX record locks (fcntl) on one file, one byte each. The system gives them back when a process dies, however it dies;
they work over NFS; and unlike those of flock (and so of filelock) they do not live on in forked children of a dead process.
A host that vanishes gives up its locks when the NFS server says so: NFS 4 after its lease, NFS 3 when the host is back.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fcos_lib.errors import JournalError

LOCK = "journal.lock"
_GUARD, _USERS, _SHARDS = 0, 1, 2
GUARD_LOOKS, LOOK_S = 15_000, 0.02
"""How often, and after how many seconds each time, it is looked whether the guard is free. Five minutes: opening a journal and
waiting for its last user take seconds. Looks are counted instead of time, since a process that was stopped has not waited."""

_open_here: set[tuple[int, int]] = set()
"""Lock files that this process has open: record locks do not keep a process from itself, and any close gives them up."""


class Locks:
    """The locks of one folder, held by this process."""

    def __init__(self, folder: Path) -> None:
        """Open the lock file; `JournalError` if this process has it open already."""
        self._path = folder / LOCK
        if self._path.exists() and _identity(os.stat(self._path)) in _open_here:
            raise JournalError(f"{folder} is open in this process already", "close that journal before opening another")
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        self._identity = _identity(os.fstat(self._file))
        _open_here.add(self._identity)

    def _take(self, byte: int, *, shared: bool = False) -> bool:
        """Take one lock, or change it from exclusive to shared; False if another process has it."""
        try:
            fcntl.lockf(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, byte)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise JournalError(
                f"{self._path} cannot be locked ({error.strerror})",
                "put the journal on a file system with locks (NFS needs its lock service)",
            ) from error
        return True

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Alone among those who open, start over or finish; `JournalError` if another one does not come to an end."""
        for _ in range(GUARD_LOOKS):
            if self._take(_GUARD):
                break
            time.sleep(LOOK_S)
        else:
            raise JournalError(
                f"another process has been opening or finishing a journal in {self._path.parent} for "
                f"{GUARD_LOOKS * LOOK_S:g} s",
                f"look which process holds {self._path} (fuser -v) and whether it is stopped; end it and run again",
            )
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _GUARD)

    def share_users(self) -> None:
        """Be one of those who use the journal. Only under the guard, where nobody else can be its only user."""
        self._take(_USERS, shared=True)

    def take_users(self) -> bool:
        """Be the only one who uses the journal; False if somebody else does. Only under the guard."""
        return self._take(_USERS)

    def take_shard(self, shard: int) -> bool:
        """Claim a shard; False if another process has it."""
        return self._take(_SHARDS + shard)

    def give_back_shard(self, shard: int) -> None:
        """Let others claim the shard."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _SHARDS + shard)

    def close(self) -> None:
        """Give everything back. Closing twice is harmless."""
        if self._identity in _open_here:
            _open_here.discard(self._identity)
            os.close(self._file)


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """What the system says about a file becomes a `JournalError`."""
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"{doing} failed ({error.strerror or error})",
            "check free space and permissions and run again: what is in the journal is kept",
        ) from error


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
