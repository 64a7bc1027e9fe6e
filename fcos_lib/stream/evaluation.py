"""Evaluation of a whole dataset by a process that may die: it runs what a journal lacks."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.stream.dataset import Picture, refuse_lost
from fcos_lib.stream.feed import Batch, Feed, seen_in
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker
from fcos_lib.stream.letterbox import geometry, in_picture
from fcos_lib.stream.progress import picture_bar
from fcos_lib.stream.sessions import Detections, Outputs, Session

MakeFeed = Callable[
    [Iterable[Sequence[Picture]], ModelContract, int, InputLayout], AbstractContextManager[Iterable[Batch]]
]
"""Turns groups of pictures into batches of so many slots, in order; groups are asked for a little ahead."""


@dataclass(frozen=True, slots=True)
class Facts:
    """How an evaluation went. Pictures add up to the whole dataset."""

    inferred: int
    """Pictures that this run's devices ran."""
    resumed: int
    """Pictures that were in the journal when it was opened."""
    repeated: int
    """Shards that were run again because their files were damaged."""
    seconds: float
    """From opening the bar to the merged result."""
    busy: float | None
    """Share of the time from the start of the first to the end of the last run that was spent inside `session.run`; None if unknown."""
    shards: Mapping[str, Sequence[int]]
    """The numbers of the shards that each device answered, by the device: logical and physical id, and host."""
    notes: Sequence[str] = ()
    """What happened to devices, a sentence each."""


@dataclass(slots=True)
class _Clock:
    """Times the runs of a session."""

    first: float = 0.0
    last: float = 0.0
    running: float = 0.0

    def run(self, session: Session, batch: Batch) -> Outputs:
        started = time.perf_counter()
        outputs = session.run(batch.tensor)
        self.last = time.perf_counter()
        self.first = self.first or started
        self.running += self.last - started
        return outputs

    @property
    def busy(self) -> float | None:
        return self.running / (self.last - self.first) if self.last > self.first else None


def detect_journaled(
    session: Session,
    journal: Journal,
    *,
    feed: MakeFeed = Feed,
    progress: str = "evaluate",
    maker: Maker | None = None,
) -> tuple[dict[int, Detections], Facts]:
    """Detections of every picture by picture id, boxes in picture pixels, and how that went.

    Runs what the journal lacks, and merges. The result is bit for bit that of one undisturbed process. `progress` names the
    bar, which is shown on terminals only; `maker` is the session's device, as the journal is to name it.
    `FeedError` if the feed ends without pictures that it was given.
    """
    started, resumed, clock = time.perf_counter(), journal.recorded, _Clock()
    maker = maker or Maker(socket.gethostname(), 0, "unknown")
    with picture_bar(progress, len(journal.pictures), journal.recorded) as bar:
        with feed(journal.batches_left(), session.contract, journal.batch, session.layout) as batches:
            for batch in batches:
                journal.append(seen_in(batch, clock.run(session, batch)), maker)
                bar.set_postfix_str(f"device {clock.busy or 0:.0%} busy", refresh=False)
                bar.update(len(batch.pictures))
        refuse_lost(journal.due, ())
    detections = merged(journal, session.contract)
    return detections, facts_of(journal, resumed, started, clock.busy)


def facts_of(journal: Journal, resumed: int, started: float, busy: float | None, notes: Sequence[str] = ()) -> Facts:
    """How an evaluation went whose journal is complete; `started` as `time.perf_counter` said."""
    shards: dict[str, list[int]] = {}
    for shard, device in sorted(journal.makers.items()):
        shards.setdefault(str(device), []).append(shard)
    seconds = time.perf_counter() - started
    return Facts(journal.recorded - resumed, resumed, journal.repeated, seconds, busy, shards, tuple(notes))


def merged(journal: Journal, contract: ModelContract) -> dict[int, Detections]:
    """The detections of a complete journal by picture id, boxes in picture pixels, with the model's own beside them."""
    geometries = {picture.id: geometry(picture.width, picture.height, contract) for picture in journal.pictures}
    return {picture_id: in_picture(seen, geometries[picture_id]) for picture_id, seen in journal.merge().items()}
