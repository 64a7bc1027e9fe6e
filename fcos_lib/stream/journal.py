"""Journal of an evaluation: what has been computed survives kill -9, and every picture counts exactly once.

How a killed run goes on:

1. The dataset is cut into shards of whole batches, about 64 pictures each, always the same ones.
2. A shard's results are in memory until its last batch; then its file is written once, under another name, synced and renamed
   (`files.write_whole`): it is there whole or not at all. What has a file is done.
3. A killed run leaves its files, and the next run of the same evaluation runs what has none: a kill costs the shards in progress.
4. A damaged file counts as none. A whole one of another journal or shard is an error: somebody put it there.
5. A run that has judged removes its journal: green means that something ran.

One process at a time has a journal, through a lock that the system gives back when that process dies.

shard-00000.npz  results of one shard, with what the journal is about and the device that answered (`journal_shards.py`)
journal.lock     locked by the process at work
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from fcos_lib.errors import DisagreementError, JournalError
from fcos_lib.files import read_plain, some, write_whole
from fcos_lib.store.artifacts import own_folder
from fcos_lib.stream.dataset import Picture, not_exactly_once
from fcos_lib.stream.journal_shards import (
    LOCK,
    Maker,
    answer_digest,
    clear,
    cut,
    disk_errors,
    largest_shard,
    locked,
    pack_shard,
    shard_path,
    subject_digest,
    unpack_shard,
)
from fcos_lib.stream.sessions import Detections

KEPT_S = 30 * 24 * 3600.0
"""How long an interrupted evaluation waits for a run that goes on with it. A decision: a fix seldom takes longer."""
_OWN = re.compile(r".+-[0-9a-f]{16}")
_KEPT = "run again: what is in the journal is kept"


class Journal(AbstractContextManager["Journal"]):
    """The results of one evaluation in a folder. Used as a context manager; not shared between threads."""

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[Picture],
        batch: int,
        fingerprint: Mapping[str, Any],
        *,
        fresh: bool = False,
    ) -> None:
        """Go on with the folder's journal, or start one; `fresh` starts over in any case.

        `fingerprint` (JSON values by name) is everything else that the results depend on; results of another one are
        refused. `JournalError` if the folder cannot be used, `StoreError` if every user may change it.
        """
        self.folder = folder.absolute()
        self.pictures, self.batch = tuple(pictures), batch
        self.shards = cut(pictures, batch)
        """The pictures of each shard, in the dataset's order."""
        self.makers: dict[int, Maker] = {}
        """The device behind each shard that is recorded."""
        self.repeated = 0
        """Shards whose files were damaged, so that they are run again."""
        self._done: dict[int, dict[int, Detections]] = {}
        self._begun: dict[int, Detections] = {}  # results so far of the first shard that is not recorded
        self._subject = subject_digest(fingerprint, pictures, batch)
        with disk_errors(f"opening the journal {self.folder}"):
            self._lock: int | None = locked(self.folder)
        try:
            if fresh:
                clear(self.folder)
            for shard in range(len(self.shards)):
                self.repeated += self._read(shard)
        except BaseException:
            self.close()
            raise

    @property
    def recorded(self) -> int:
        """Pictures in the journal."""
        return sum(map(len, self._done.values()))

    @property
    def complete(self) -> bool:
        """True if every picture is in the journal."""
        return len(self._done) == len(self.shards)

    def unfinished(self) -> list[int]:
        """The numbers of the shards that are not recorded, in order."""
        return [shard for shard in range(len(self.shards)) if shard not in self._done]

    @property
    def due(self) -> tuple[int, ...]:
        """The ids of the pictures whose results have yet to be appended."""
        missing = [picture.id for shard in self.unfinished() for picture in self.shards[shard]]
        return tuple(missing[len(self._begun) :])

    def batches_left(self) -> Iterator[tuple[Picture, ...]]:
        """The pictures of every batch whose results have yet to be appended, in order."""
        skipped = len(self._begun)
        for shard in self.unfinished():
            pictures = self.shards[shard]
            for start in range(skipped, len(pictures), self.batch):
                yield pictures[start : start + self.batch]
            skipped = 0

    def append(self, results: Mapping[int, Detections], maker: Maker) -> None:
        """Take the next batch: picture id to detections in network pixels; the last batch of a shard records it.

        `JournalError` if it is not the batch that is due, or the disk refuses.
        """
        ids, shard = tuple(results), next(iter(self.unfinished()), None)
        left = self.shards[shard][len(self._begun) :] if shard is not None else ()
        if shard is None or not ids or ids != tuple(picture.id for picture in left[: self.batch]):
            raise JournalError(
                f"pictures {some(ids)} are no batch that is due in {self.folder}: {some(self.due) or 'none'} are", _KEPT
            )
        self._begun |= results
        if len(ids) == len(left):
            begun, self._begun = self._begun, {}
            self.record(shard, begun, maker)

    def record(self, shard: int, results: Mapping[int, Detections], maker: Maker) -> bool:
        """Take all results of a shard, in its order; False if the same answer is recorded already.

        `DisagreementError` if another answer is; `JournalError` if these are not the shard's pictures, or the disk refuses.
        """
        ids = self._ids(shard)
        if list(results) != ids:
            wrong = not_exactly_once(list(results), ids) or "pictures are not in order"
            raise JournalError(f"an answer for shard {shard} in {self.folder} is not one: {wrong}", _KEPT)
        if shard in self._done:
            theirs, ours = answer_digest(self._done[shard]), answer_digest(results)
            if theirs != ours:
                raise DisagreementError(
                    f"the devices disagree: for pictures {some(ids)}, {self.makers[shard]} found {theirs} and {maker} {ours} "
                    "(digests of all detections)",
                    "one OM on one kind of chip gives the same bits on every device: look at npu-smi info -t health and "
                    "dmesg on both hosts",
                )
            return False
        path = shard_path(self.folder, shard)
        try:
            data = pack_shard(self._subject, results, maker)
        except ValueError as error:
            raise JournalError(f"results cannot be recorded: {error}") from error
        with disk_errors(f"writing {path}"):
            write_whole(path, data)
        self._done[shard], self.makers[shard] = dict(results), maker
        return True

    def forget(self, shards: Iterable[int]) -> None:
        """Remove what is recorded of these shards: the device behind them is no longer trusted."""
        for shard in shards:
            if self._done.pop(shard, None) is not None:
                del self.makers[shard]
                with disk_errors(f"removing a shard of {self.folder}"):
                    shard_path(self.folder, shard).unlink(missing_ok=True)

    def merge(self) -> dict[int, Detections]:
        """Detections by picture id, in network pixels and in the dataset's order, after proof that each picture is there once.

        `JournalError` names what is missing.
        """
        results: dict[int, Detections] = {}
        for shard in sorted(self._done):
            results |= self._done[shard]
        expected = [picture.id for picture in self.pictures]
        if list(results) != expected:
            wrong = not_exactly_once(list(results), expected) or "pictures are not in order"
            raise JournalError(f"in {self.folder}, {wrong}", "run again, or pass --fresh")
        return results

    def remove(self) -> None:
        """Remove the journal from the disk: it has served, or what computed it is not trusted. Nothing is recorded after that."""
        with disk_errors(f"removing the journal {self.folder}"):
            clear(self.folder)
            (self.folder / LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # what does not belong to it stays, with its folder
                self.folder.rmdir()
        self.close()

    def close(self) -> None:
        """Let another process have it. Closing twice is harmless."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ids(self, shard: int) -> list[int]:
        return [picture.id for picture in self.shards[shard]]

    def _read(self, shard: int) -> bool:
        """Take over what a shard's file has, if there is one; True if it is damaged. `JournalError` for a stranger's."""
        path, ids = shard_path(self.folder, shard), self._ids(shard)
        with disk_errors(f"reading {path}"):
            try:
                self._done[shard], self.makers[shard] = unpack_shard(
                    read_plain(path, largest_shard(len(ids))), self._subject, ids
                )
            except FileNotFoundError:
                return False
            except ValueError:
                return True
            except JournalError as error:
                raise JournalError(f"{path} cannot be used: {error.found}", error.advice) from error
        return False


def own_journal(
    stem: Path, pictures: Sequence[Picture], batch: int, fingerprint: Mapping[str, Any], *, fresh: bool = False
) -> Journal:
    """The journal of this evaluation in a folder named `stem` and what it is about, beside those of other evaluations.

    So an interrupted one survives runs of something else; those that nobody went on with for 30 days are removed.
    Arguments and errors as of `Journal`.
    """
    own_folder(stem.parent, "results that are found there count", "--artifacts")
    folder = stem.with_name(f"{stem.name}-{subject_digest(fingerprint, pictures, batch)[:16]}")
    with disk_errors(f"opening the journals in {stem.parent}"):
        for other in list(stem.parent.iterdir()):
            if other != folder and _OWN.fullmatch(other.name) and not other.is_symlink():
                _remove_if_old(other)
    return Journal(folder, pictures, batch, fingerprint, fresh=fresh)


def _remove_if_old(folder: Path) -> None:
    """Remove a journal whose folder has not changed for long, unless a process has it; what is none of it stays."""
    with suppress(FileNotFoundError, NotADirectoryError):  # removed by its own process
        if folder.stat().st_mtime < time.time() - KEPT_S:
            with suppress(JournalError), Journal(folder, (), 1, {}) as journal:
                journal.remove()
