"""Progress bars over pictures, on terminals only.

The only importer of tqdm. Its own lock is for processes that share a bar: a semaphore in /dev/shm, of which kill -9 leaves a file
there if it comes while the semaphore is made. Bars of ours belong to one process, so a lock for threads does.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, TypeAlias

from tqdm import tqdm

Bar: TypeAlias = "tqdm[Any]"
_LOCK = threading.RLock()


def picture_bar(what: str, total: int, done: int = 0) -> Bar:
    """A bar on stderr that stands at `done` of `total` pictures; a context manager with `update`, and `write` for lines above it."""
    tqdm.set_lock(_LOCK)
    return tqdm(total=total, initial=done, desc=what, unit="picture", disable=None, file=sys.stderr, dynamic_ncols=True)
