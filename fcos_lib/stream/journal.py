"""Journal of an evaluation: it survives kill -9, and several processes and hosts share it, every picture exactly once.

How a killed run goes on:

1. The data set is cut into shards of whole batches, about 64 pictures each, always the same ones.
2. Who holds a shard's lock runs its batches, keeps the results in memory, and then writes the shard's file once, under another
   name, synced and renamed (`files.write_whole`): it is there whole or not at all. What has a file is done.
3. When a process dies, the system gives its locks back. Whoever takes one next, in this run or a later one, finds no file and runs
   the shard again: a kill costs the batches of the shards in progress, whose files had not been written.
4. A damaged file counts as none. A whole one of another journal or shard is an error: somebody put it there.
5. The folder's header (`journal_folder.py`) says what the journal is about; nothing is taken over from one about something else.

What is left to do is decided under locks alone, so nothing depends on clocks; results come back bit for bit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fcos_lib.errors import JournalError
from fcos_lib.files import read_plain, write_whole
from fcos_lib.store.artifacts import own_folder
from fcos_lib.stream.dataset import Picture, not_exactly_once, some
from fcos_lib.stream.journal_folder import digest_of, disown, enter, mark_finished, remove_those_over, subject_of
from fcos_lib.stream.journal_shards import (
    SHARDS,
    Locks,
    cut,
    disk_errors,
    largest_shard,
    pack_shard,
    shard_path,
    unpack_shard,
)
from fcos_lib.stream.sessions import Detections

POLL = 0.2
"""Seconds between two looks at what others still hold."""
PATIENCE_LOOKS = 18_000
"""Looks, an hour of them, in which others have to record a shard. A decision: on a CPU, 64 pictures of the full network take ten
minutes. Looks are counted instead of time, since a process that was stopped has not waited."""
_KEPT = "run again: what is in the journal is kept"


class Journal:
    """The results of one evaluation in a folder. Used as a context manager; not shared between threads."""

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[Picture],
        batch: int,
        fingerprint: Mapping[str, Any],
        run_id: str,
        *,
        fresh: bool = False,
        keep_finished: bool = False,
    ) -> None:
        """Join the folder's journal, or start one.

        `fingerprint` (JSON values by name) is everything else that the results depend on; a journal with another one is
        refused. `run_id` is the same for all workers of one run. A journal that another run finished is started over,
        since green must mean that something ran, unless `keep_finished`, with which hosts share a folder. `fresh` starts
        over in any case, once per run. `JournalError` if the folder cannot be used.
        """
        self.folder = folder.absolute()
        self.pictures, self.batch = tuple(pictures), batch
        self.run_id = run_id
        self.repeated = 0
        """Shards that this process runs again because their files were damaged."""
        self._done: dict[int, dict[int, Detections]] = {}  # what the files have, by shard
        self._held: dict[int, dict[int, Detections]] = {}  # results so far of the shards that are claimed here
        self._shards = cut(pictures, batch)
        subject = subject_of(fingerprint, self.pictures, batch)
        with disk_errors(f"opening the journal {self.folder}"):
            self._locks, self._token = enter(self.folder, subject, run_id, fresh=fresh, keep_finished=keep_finished)
        try:
            for shard in range(len(self._shards)):
                self._look(shard)
        except BaseException:
            self.close()
            raise

    @property
    def recorded(self) -> int:
        """Pictures in the journal, as far as this process has seen."""
        return sum(map(len, self._done.values()))

    @property
    def complete(self) -> bool:
        """Is every picture in the journal, as far as this process has seen?"""
        return not self._unfinished()

    @property
    def due(self) -> tuple[int, ...]:
        """Pictures that this process has claimed and whose results it has yet to append."""
        return tuple(picture_id for shard in self._held for picture_id in self._due(shard))

    def wait(self) -> bool:
        """Wait until there is something to do here (True) or everything is complete (False).

        Who holds a shard does not wait: two that wait for each other's would do so forever. `JournalError` says which
        pictures others hold without recording any of them.
        """
        before, looks = -1, 0
        while unfinished := self._unfinished():
            if self._held or any(self._claim(shard) for shard in unfinished):
                return True
            before, looks = len(unfinished), looks + 1 if len(unfinished) == before else 0
            if looks > PATIENCE_LOOKS:
                missing = [picture_id for shard in unfinished for picture_id in self._ids(shard)]
                raise JournalError(
                    f"{len(missing)} pictures are missing in {self.folder} ({some(missing)}): other processes hold them, "
                    f"and have recorded nothing for {PATIENCE_LOOKS * POLL:g} s",
                    "look for a process of this evaluation that hangs or is stopped, on every host that shares the folder; "
                    f"end it and {_KEPT}",
                )
            time.sleep(POLL)
        return False

    def claims(self) -> Iterator[tuple[Picture, ...]]:
        """The pictures of every batch that nobody has done or is doing; a shard is claimed when its first is asked for.

        Begins with what this process holds already. Ends when nothing is left to claim; others may still be at work (`wait`).
        """
        for shard in self._unfinished():
            if shard in self._held or self._claim(shard):
                for start in range(len(self._held[shard]), len(self._shards[shard]), self.batch):
                    yield self._shards[shard][start : start + self.batch]

    def append(self, results: Mapping[int, Detections]) -> None:
        """Take one batch: picture id to detections in network pixels, in the batch's order; the last one of a shard records it.

        `JournalError` if it is not the next batch of a shard claimed here, or the disk refuses; then the shard is let go.
        """
        ids = tuple(results)
        shard = next((shard for shard in self._held if ids == self._due(shard)[: self.batch]), None)
        if shard is None:
            raise JournalError(
                f"pictures {some(ids)} are no batch that is due in {self.folder}: {some(self.due) or 'none'} are", _KEPT
            )
        self._held[shard] |= results
        if self._due(shard):
            return
        try:
            data, path = pack_shard(self._token, self._held[shard]), shard_path(self.folder, shard)
            with disk_errors(f"writing {path}"):
                write_whole(path, data)
            self._done[shard] = self._held[shard]
        except ValueError as error:
            raise JournalError(f"results cannot be recorded: {error}") from error
        finally:
            del self._held[shard]
            self._locks.give_back(SHARDS + shard)

    def merge(self) -> dict[int, Detections]:
        """Detections by picture id, in network pixels and in the data set's order, after proof that each picture is there once.

        Then the journal is noted as finished by this run. `JournalError` names what is missing.
        """
        results: dict[int, Detections] = {}
        for shard in sorted(self._done):
            results |= self._done[shard]
        expected = [picture.id for picture in self.pictures]
        if list(results) != expected:
            wrong = not_exactly_once(list(results), expected) or "pictures are not in order"
            raise JournalError(f"in {self.folder}, {wrong}", "run again, or pass --fresh")
        with disk_errors(f"finishing the journal {self.folder}"):
            mark_finished(self.folder, self._locks, self.run_id)
        return results

    def distrust(self) -> None:
        """Have it begun again by whoever opens it next: something is wrong with what this process found."""
        with disk_errors(f"giving up the journal {self.folder}"):
            disown(self.folder, self._locks)

    def close(self) -> None:
        """Let others claim what this process holds. Closing twice is harmless."""
        self._held.clear()
        self._locks.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unfinished(self) -> list[int]:
        return [shard for shard in range(len(self._shards)) if shard not in self._done]

    def _due(self, shard: int) -> tuple[int, ...]:
        """Pictures of a shard that is claimed here whose results are not here yet."""
        return self._ids(shard)[len(self._held[shard]) :]

    def _ids(self, shard: int) -> tuple[int, ...]:
        return tuple(picture.id for picture in self._shards[shard])

    def _claim(self, shard: int) -> bool:
        """Claim a shard; False if another process holds it or has done it."""
        if not self._locks.take(SHARDS + shard):
            return False
        try:
            damaged = self._look(shard)
        except BaseException:
            self._locks.give_back(SHARDS + shard)
            raise
        if shard in self._done:
            self._locks.give_back(SHARDS + shard)
            return False
        self.repeated += damaged
        self._held[shard] = {}
        return True

    def _look(self, shard: int) -> bool:
        """Take over what a shard's file has, if there is one; True if it is damaged. `JournalError` for a stranger's."""
        path = shard_path(self.folder, shard)
        with disk_errors(f"reading {path}"):
            # Listed first: an NFS client may remember that a file was not there, but asks anew when a folder is opened.
            if path.name not in os.listdir(self.folder):
                return False
            ids = self._ids(shard)
            try:
                self._done[shard] = unpack_shard(read_plain(path, largest_shard(len(ids))), self._token, ids)
            except ValueError:
                return True
            except JournalError as error:
                raise JournalError(f"{path} cannot be used: {error.found}", error.advice) from error
            return False


def own_journal(
    stem: Path,
    pictures: Sequence[Picture],
    batch: int,
    fingerprint: Mapping[str, Any],
    run_id: str,
    *,
    fresh: bool = False,
) -> Journal:
    """A run's own journal of this evaluation, in a folder named `stem` and what it is about, beside those of others.

    Those that other runs finished are removed, since they are no evidence for this one, and those that nobody went on with.
    Arguments and errors as of `Journal`.
    """
    own_folder(stem.parent, "results that are found there count", "--artifacts")
    folder = stem.with_name(f"{stem.name}-{digest_of(subject_of(fingerprint, pictures, batch))}")
    with disk_errors(f"opening the journals in {stem.parent}"):
        locks = Locks(stem.parent)
        try:
            with locks.guard():  # while one is opened or removed
                remove_those_over(folder, run_id)
                return Journal(folder, pictures, batch, fingerprint, run_id, fresh=fresh)
        finally:
            locks.close()
