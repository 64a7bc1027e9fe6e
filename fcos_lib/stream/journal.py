"""A journal lets an evaluation survive kill -9, and several processes and hosts share one, every picture exactly once.

The dataset is cut into shards of whole batches. Who holds the lock of a shard works on it and appends a line per batch to
its file; when that process dies, the lock is free, and another goes on behind the last whole line. What is left to do is
decided under that lock alone, so nothing depends on clocks. Batches are always those of an undisturbed run, and results come
back bit for bit, so that the merged result does not show how often it was interrupted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fcos_lib.errors import JournalError
from fcos_lib.files import open_plain
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal_folder import disown, enter, mark_finished, shard_path, subject_of
from fcos_lib.stream.journal_locks import disk_errors
from fcos_lib.stream.journal_records import PICTURE_BYTES, Plan, Record, encode_record, read_shard
from fcos_lib.stream.picture_ids import not_exactly_once, some
from fcos_lib.stream.sessions import Detections

POLL = 0.2
"""Seconds between two looks at what others still hold."""
PATIENCE_LOOKS = 18_000
"""Looks, an hour of them, in which others have to record something. A decision: the longest known call into a device's library
takes a minute. Looks are counted instead of time, since a process that was stopped has not waited."""
SYNC_SHARE = 0.02
"""Of the time may go into waiting for the disk; a shard's last line is always waited for.

kill -9 loses nothing that was written; a loss of power may lose what was not synced. Syncing a line of 3 to 200 kB took 0.1 to
0.5 ms (ext4 on a virtual SSD), so that there each line of a batch that takes 25 ms or more is synced, and a loss of power
repeats one batch. On a disk that needs 20 ms it repeats those of the last second.
"""


@dataclass(slots=True)
class _Claim:
    """A shard that this process holds."""

    shard: int
    file: int
    following: int
    """The batch that is to be appended next."""


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
        self.plan = Plan(tuple(picture.id for picture in pictures), batch)
        self.run_id = run_id
        self.repeated = 0
        """Batches that this process repeats because their lines were damaged at the end of a shard."""
        self._pictures = tuple(pictures)
        self._claims: dict[int, _Claim] = {}
        self._synced_at, self._sync_took = 0.0, 0.0
        subject = subject_of(fingerprint, self.plan)
        with disk_errors(f"opening the journal {self.folder}"):
            self._locks, self._token = enter(self.folder, subject, run_id, fresh=fresh, keep_finished=keep_finished)
        try:
            self._known = [self._survey(shard) for shard in range(self.plan.shards)]
        except BaseException:
            self.close()
            raise

    @property
    def recorded(self) -> int:
        """Pictures in the journal, as far as this process has seen."""
        ranges = (self.plan.batches_of(shard) for shard in range(self.plan.shards))
        return sum(
            len(self.plan.ids_of(batches[:known])) for batches, known in zip(ranges, self._known, strict=True) if known
        )

    @property
    def complete(self) -> bool:
        """Is every batch in the journal, as far as this process has seen?"""
        return not self._unfinished()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Those that it is for, in order."""
        return self._pictures

    def wait(self) -> bool:
        """Wait until there is something to do here (True) or everything is complete (False).

        Who holds a shard does not wait: two that wait for each other's would do so forever. `JournalError` says which
        pictures others hold without recording any of them.
        """
        recorded, looks = -1, 0
        while unfinished := self._unfinished():
            if self._claims or any(self._claim(shard) for shard in unfinished):
                return True
            recorded, before = self._bytes_of(unfinished), recorded
            looks = looks + 1 if recorded == before else 0
            if looks > PATIENCE_LOOKS:
                self._refuse_to_wait(unfinished)
            time.sleep(POLL)
        return False

    def _refuse_to_wait(self, unfinished: Sequence[int]) -> None:
        """`JournalError` about the pictures that others hold, unless they have recorded them by now."""
        missing: list[int] = []
        for shard in unfinished:
            self._known[shard] = self._survey(shard)
            missing += self.plan.ids_of(self.plan.batches_of(shard)[self._known[shard] :])
        if missing:
            raise JournalError(
                f"{len(missing)} pictures are missing in {self.folder} ({some(missing)}): other processes hold them, and "
                f"have recorded nothing for {PATIENCE_LOOKS * POLL:g} s",
                "look for a process of this evaluation that hangs or is stopped, on every host that shares the folder; "
                "end it and run again: what is in the journal is kept",
            )

    @property
    def due(self) -> tuple[int, ...]:
        """Pictures that this process has claimed and has yet to record."""
        batches = (range(claim.following, self.plan.batches_of(claim.shard).stop) for claim in self._claims.values())
        return tuple(picture_id for part in batches for picture_id in self.plan.ids_of(part))

    def claims(self) -> Iterator[tuple[Picture, ...]]:
        """The pictures of every batch that nobody has done or is doing; a shard is claimed when its first is asked for.

        Begins with what this process holds already. Ends when nothing is left to claim; others may still be at work (`wait`).
        """
        for shard in self._unfinished():
            claim = self._claims.get(shard) or self._claim(shard)
            if claim:
                for batch in range(claim.following, self.plan.batches_of(shard).stop):
                    yield self._pictures[batch * self.plan.batch : (batch + 1) * self.plan.batch]

    def append(self, found: Mapping[int, Detections]) -> None:
        """Record one batch: picture id to detections in network pixels, in the batch's order.

        `JournalError` if it is not the next batch of a shard claimed here, or the disk refuses; then the shard is let go,
        and who claims it next cuts away what was written of the batch.
        """
        ids = tuple(found)
        for claim in self._claims.values():
            if ids == self._ids(claim.following):
                break
        else:
            raise JournalError(
                f"pictures {some(ids)} are no batch that is due in {self.folder}: {some(self.due) or 'none'} are",
                "run again: what is in the journal is kept",
            )
        try:
            line = encode_record(Record(self._token, claim.following, tuple(found.items())))
            self._write(claim, line)
        except BaseException as error:
            self._let_go(claim)
            if isinstance(error, ValueError):
                raise JournalError(f"results cannot be recorded: {error}") from error
            raise
        claim.following += 1
        self._known[claim.shard] += 1
        if claim.following == self.plan.batches_of(claim.shard).stop:
            self._let_go(claim)

    def merge(self) -> dict[int, Detections]:
        """Detections by picture id, in network pixels and in the dataset's order, after proof that each picture is there once.

        Then the journal is noted as finished by this run. `JournalError` names what is missing, double or foreign.
        """
        records = [record for shard in range(self.plan.shards) for record in self._read(shard)[0]]
        found = [pair for record in records for pair in record.found]
        ids = [picture_id for picture_id, _ in found]
        wrong = not_exactly_once(ids, self.plan.picture_ids)
        if wrong or tuple(ids) != self.plan.picture_ids:
            raise JournalError(
                f"in {self.folder}, {wrong or 'pictures are not in order'}", "run again, or pass --fresh"
            )
        with disk_errors(f"finishing the journal {self.folder}"):
            mark_finished(self.folder, self._locks, self.run_id)
        return dict(found)

    def distrust(self) -> None:
        """Have it begun again by whoever opens it next: something is wrong with what this process found."""
        with disk_errors(f"giving up the journal {self.folder}"):
            disown(self.folder, self._locks)

    def close(self) -> None:
        """Let others claim what this process holds. Closing twice is harmless."""
        for claim in self._claims.values():
            os.close(claim.file)
        self._claims.clear()
        self._locks.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unfinished(self) -> list[int]:
        return [shard for shard, known in enumerate(self._known) if known < len(self.plan.batches_of(shard))]

    def _bytes_of(self, shards: Sequence[int]) -> int:
        """What is written in these shards, by whomever."""
        paths = (shard_path(self.folder, shard) for shard in shards)
        return sum(path.stat().st_size for path in paths if path.exists())

    def _ids(self, batch: int) -> tuple[int, ...]:
        return self.plan.ids_of(range(batch, batch + 1))

    def _survey(self, shard: int) -> int:
        """Batches that were in a shard when the journal was opened."""
        try:
            return len(self._read(shard)[0])
        except JournalError:
            # Over NFS, a file that another host is appending to may show zeros where its newest lines are.
            if not self._locks.take_shard(shard):
                return 0
            try:
                return len(self._read(shard)[0])
            finally:
                self._locks.give_back_shard(shard)

    def _claim(self, shard: int) -> _Claim | None:
        """Claim a shard unless another process holds it or it is complete; damage at its end is cut away."""
        if not self._locks.take_shard(shard):
            return None
        path = shard_path(self.folder, shard)
        with disk_errors(f"opening {path}"):
            # Opened for writing even to look: an NFS client may remember that a file was not there, but not here.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        batches = self.plan.batches_of(shard)
        claim = _Claim(shard, file, batches.start)
        self._claims[shard] = claim
        try:
            records, whole, size = self._read(shard)
            self._known[shard] = len(records)
            claim.following += len(records)
            if claim.following == batches.stop:
                self._let_go(claim)
                return None
            if whole < size:
                with disk_errors(f"cutting {path}"):
                    os.ftruncate(file, whole)
                self.repeated += 1
        except BaseException:
            self._let_go(claim)
            raise
        return claim

    def _read(self, shard: int) -> tuple[list[Record], int, int]:
        """The records of a shard, the bytes that these take, and the bytes of the file."""
        path = shard_path(self.folder, shard)
        limit = PICTURE_BYTES * len(self.plan.ids_of(self.plan.batches_of(shard)))
        if not path.exists():
            return [], 0, 0
        with disk_errors(f"reading {path}"), open_plain(path) as file:
            data = file.read(limit + 1)
        try:
            if len(data) > limit:
                raise ValueError(f"it has more than {limit:,} bytes")
            records, whole = read_shard(data, self.plan, shard, self._token)
        except ValueError as error:
            raise JournalError(f"{path} cannot be used: {error}", "restore the file, or pass --fresh") from error
        return records, whole, len(data)

    def _write(self, claim: _Claim, line: bytes) -> None:
        """Append a line with one write and, as `SYNC_SHARE` allows, wait until the disk has it."""
        with disk_errors(f"writing {shard_path(self.folder, claim.shard)}"):
            while line:  # a short write is followed by one that says why
                line = line[os.write(claim.file, line) :]
            last = claim.following + 1 == self.plan.batches_of(claim.shard).stop
            started = time.monotonic()
            if last or self._sync_took <= SYNC_SHARE * (started - self._synced_at):
                getattr(os, "fdatasync", os.fsync)(claim.file)
                self._synced_at = time.monotonic()
                self._sync_took = self._synced_at - started

    def _let_go(self, claim: _Claim) -> None:
        """Close a shard, then let others claim it: over NFS, closing is what makes the lines visible to other hosts."""
        del self._claims[claim.shard]
        try:
            with disk_errors(f"closing {shard_path(self.folder, claim.shard)}"):
                os.close(claim.file)
        finally:
            self._locks.give_back_shard(claim.shard)
