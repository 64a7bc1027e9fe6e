"""Folder of a journal: the lock by which one process at a time has it, and the digest of what it is about."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fcos_lib.errors import JournalError
from fcos_lib.store.artifacts import own_folder
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal_shards import cut

LOCK = "journal.lock"
PATIENCE_LOOKS, LOOK_S = 50, 0.2
"""Ten seconds, in looks, for the process that has the journal to end: one that was just killed, for instance."""


def subject_digest(fingerprint: Mapping[str, Any], pictures: Sequence[Picture], batch: int) -> str:
    """SHA-256 over everything that must be equal for results to be of one evaluation."""
    subject = {
        "fingerprint": dict(fingerprint),
        "batch size": batch,
        "pictures of each shard": [len(shard) for shard in cut(pictures, batch)],
        "pictures": [picture.id for picture in pictures],
    }
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()


def locked(folder: Path) -> int:
    """The descriptor of the folder's lock, which is held; `JournalError` if another process keeps it."""
    for look in range(PATIENCE_LOOKS):
        if look:
            time.sleep(LOOK_S)
        own_folder(folder, "results that are found there count", "--artifacts")
        path = folder / LOCK
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # the folder was removed by the process that had it
            continue
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):  # or it was removed with its journal
                return file
        os.close(file)
    raise JournalError(
        f"another process is working in the journal {folder}",
        f"wait until it has ended (fuser -v {folder / LOCK} names it), or pass another folder with --artifacts FOLDER",
    )
