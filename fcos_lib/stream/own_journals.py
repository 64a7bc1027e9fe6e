"""A run's own journals: a folder for each thing that is evaluated, so that an interrupted evaluation survives others.

They lie side by side in one folder, whose lock is held while one is opened or removed. One that another run finished is removed,
since it is no evidence for this run; one that was interrupted waits for a run of the same.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fcos_lib.errors import JournalError
from fcos_lib.store.artifacts import own_folder
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_folder import clear, digest_of, finished_by, subject_of
from fcos_lib.stream.journal_locks import LOCK, Locks, disk_errors
from fcos_lib.stream.journal_records import Plan

KEPT_S = 30 * 24 * 3600.0
"""How long an interrupted evaluation waits for a run that goes on with it. A decision: a fix seldom takes longer."""
_OWN = re.compile(r".+-[0-9a-f]{16}")


def own_journal(
    stem: Path,
    pictures: Sequence[Picture],
    batch: int,
    fingerprint: Mapping[str, Any],
    run_id: str,
    *,
    fresh: bool = False,
) -> Journal:
    """The journal of this evaluation, in a folder named `stem` and what it is about; those that are over are removed.

    Arguments and errors as of `Journal`.
    """
    own_folder(stem.parent, "results that are found there count", "--artifacts")
    subject = subject_of(fingerprint, Plan(tuple(picture.id for picture in pictures), batch))
    folder = stem.with_name(f"{stem.name}-{digest_of(subject)}")
    with disk_errors(f"opening the journals in {stem.parent}"):
        locks = Locks(stem.parent)
        try:
            with locks.guard():
                others = (path for path in stem.parent.iterdir() if path != folder and _OWN.fullmatch(path.name))
                for other in others:
                    if other.is_dir() and not other.is_symlink() and _is_over(other, run_id):
                        _remove(other)
                return Journal(folder, pictures, batch, fingerprint, run_id, fresh=fresh)
        finally:
            locks.close()


def _is_over(folder: Path, run_id: str) -> bool:
    runs = finished_by(folder)
    if runs is not None:
        return run_id not in runs
    latest = 0.0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # who works in there has just renamed it
            latest = max(latest, entry.stat(follow_symlinks=False).st_mtime)
    return latest < time.time() - KEPT_S


def _remove(folder: Path) -> None:
    """Remove a journal unless somebody uses it; what does not belong to it stays, with its folder."""
    try:
        locks = Locks(folder)
    except JournalError:  # open in this process
        return
    try:
        if locks.take_users():
            clear(folder)
            (folder / LOCK).unlink()
            with suppress(OSError):
                folder.rmdir()
    finally:
        locks.close()
