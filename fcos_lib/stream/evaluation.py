"""Evaluation of a whole dataset, where the process may die and others may help: it runs what a journal lacks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tqdm import tqdm

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.stream.dataset import Picture, refuse_lost
from fcos_lib.stream.feed import Batch, Feed, seen_in
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.letterbox import geometry, in_picture
from fcos_lib.stream.sessions import Detections, Outputs, Session


class MakeFeed(Protocol):
    """Turns groups of pictures into batches, in order; groups are asked for a little ahead, by who asks for batches."""

    def __call__(
        self, groups: Iterable[Sequence[Picture]], contract: ModelContract, size: int, layout: InputLayout, /
    ) -> AbstractContextManager[Iterable[Batch]]:
        """A feed of batches of `size` slots, to be used as a context manager."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """How an evaluation went, as one of the processes that shared it saw it. Pictures add up to the whole dataset."""

    inferred: int
    """Pictures that this process ran."""
    resumed: int
    """Pictures that were in the journal when it was opened."""
    by_others: int
    """Pictures that other processes ran meanwhile."""
    repeated: int
    """Shards that this process ran again because their files were damaged."""
    seconds: float
    """From opening the bar to the merged result."""
    busy: float | None
    """Share of the time from the start of the first to the end of the last run here that was spent inside `session.run`."""


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
    session: Session, journal: Journal, *, feed: MakeFeed = Feed, progress: str = "evaluate"
) -> tuple[dict[int, Detections], Facts]:
    """Detections of every picture by picture id, boxes in picture pixels, and how that went.

    Runs what the journal lacks, waits for what other processes are running, takes over what the dead leave, and merges. The
    result is bit for bit that of one undisturbed process. `progress` names the bar, which is shown on terminals only.
    `FeedError` if the feed ends without pictures that it was given, `JournalError` if others hold some for too long.
    """
    started, resumed, inferred, clock = time.perf_counter(), journal.recorded, 0, _Clock()
    total, size = len(journal.pictures), journal.batch
    with tqdm(
        total=total, initial=resumed, desc=progress, unit="picture", disable=None, file=sys.stderr, dynamic_ncols=True
    ) as bar:
        # In rounds: while batches of our own are in the feed, waiting for others could be waiting for each other.
        while not journal.complete:
            bar.set_postfix_str("waiting for others")
            if not journal.wait():
                break
            with feed(journal.claims(), session.contract, size, session.layout) as batches:
                for batch in batches:
                    journal.append(seen_in(batch, clock.run(session, batch)))
                    inferred += len(batch.pictures)
                    bar.set_postfix_str(f"device {clock.busy or 0:.0%} busy", refresh=False)
                    bar.update(len(batch.pictures))
            refuse_lost(journal.due, ())  # they would be claimed, and lost, again and again
        bar.update(total - bar.n)
        detections = merged(journal, session.contract)
    facts = Facts(
        inferred=inferred,
        resumed=resumed,
        by_others=total - resumed - inferred,
        repeated=journal.repeated,
        seconds=time.perf_counter() - started,
        busy=clock.busy,
    )
    return detections, facts


def merged(journal: Journal, contract: ModelContract) -> dict[int, Detections]:
    """The detections of a complete journal by picture id, boxes in picture pixels, with the model's own beside them."""
    geometries = {picture.id: geometry(picture.width, picture.height, contract) for picture in journal.pictures}
    return {picture_id: in_picture(seen, geometries[picture_id]) for picture_id, seen in journal.merge().items()}
