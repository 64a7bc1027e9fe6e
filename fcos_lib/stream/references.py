"""The reference's results, each computed once: what it found in a picture is on disk, and need not be computed again.

    <root>/<model key>/manifest.json                   what the key was made from
    <root>/<model key>/<first two digits>/<SHA-256 of the picture's file>.npz

The model key covers everything else that a result depends on. The CPU is not part of it, so that machines can share a
folder: it is in each record, and `audit` knows how far two CPUs may differ. A share of what was found is computed again in
every run, chosen anew each time; that also tells what the key does not cover.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import AuditError, DatasetError
from fcos_lib.store.artifacts import content_key, own_folder
from fcos_lib.store.sources import dependencies
from fcos_lib.stream.dataset import Picture, file_digest, read_picture, refuse_lost
from fcos_lib.stream.letterbox import blank, geometry, in_picture, letterbox
from fcos_lib.stream.reference_record import (
    FORMAT,
    Record,
    cpu_name,
    difference,
    prune_records,
    read_record,
    write_file,
    write_record,
)
from fcos_lib.stream.sessions import Detections, OnnxSession

LIMIT_BYTES = 4 << 30
"""val2017 takes 20 MB without proposals, a sample of 64 with them 72 MB."""
Progress = Callable[[int, int], None]
"""Called with how many pictures are computed and how many are to be."""


@dataclass(frozen=True, slots=True)
class ReferenceFacts:
    """Where the results of this run came from, in pictures."""

    hits: int
    """Found on disk; once, however often they were asked for."""
    computed: int
    """Not found, or without the proposals that were asked for."""
    audited: int
    """Of the hits, computed again and found equal."""
    damaged: int
    """Unreadable records among what was looked for; they are computed again."""


class References:
    """The reference's results, each computed once. One per process; not shared between threads.

    Processes and hosts may share the folder: they compute missing pictures in different orders and take over from each
    other, picture by picture. A killed run loses the picture that it was at.
    """

    def __init__(
        self,
        root: Path,
        session: OnnxSession,
        contract: ModelContract,
        onnx_sha256: str,
        *,
        audit_share: float = 0.01,
    ) -> None:
        """`onnx_sha256` is that of the session's model; `audit_share` of the hits are computed again, at least one.

        `StoreError` if the folder cannot be written, or can be by everybody.
        """
        inputs = {
            "format": FORMAT,
            "contract": contract.as_dict(),
            "onnx": onnx_sha256,
            "numerics": session.numerics,
            **dependencies(__name__),
        }
        self.root = root.absolute()
        self.folder = self.root / content_key("reference", inputs)
        self._session, self._contract = session, contract
        self._audit_share = audit_share
        self._counts: Counter[str] = Counter()
        self._used: set[Path] = set()  # records that this run read or wrote
        self._sure: set[Path] = set()  # those that it computed itself
        self._cpu = cpu_name()
        for folder in (self.root, self.folder):
            own_folder(folder, "what is found there is believed", "--references")
        if not (self.folder / "manifest.json").exists():
            write_file(self.folder / "manifest.json", json.dumps(inputs, indent=1, sort_keys=True).encode())

    @property
    def facts(self) -> ReferenceFacts:
        """What happened so far."""
        return ReferenceFacts(**{name: self._counts[name] for name in ("hits", "computed", "audited", "damaged")})

    def detections(self, pictures: Sequence[Picture], progress: Progress | None = None) -> dict[int, Detections]:
        """Detections by picture id, boxes in picture pixels, as `feed.detect` gives them.

        `AuditError` names a picture whose record is wrong, `DatasetError` one that is broken.
        """
        detections = {}
        for number, record in self._records(pictures, False, progress).items():
            detections[number] = in_picture(record.detections, geometry(*record.size, self._contract))
        return detections

    def with_proposals(
        self, pictures: Sequence[Picture], progress: Progress | None = None
    ) -> dict[int, tuple[Detections, NDArray[np.float32], NDArray[np.float32]]]:
        """Detections and what reached NMS (float32[M, 4], float32[M, C]) by picture id, all in network pixels.

        Errors as in `detections`.
        """
        return {
            number: (record.detections, *record.proposals)
            for number, record in self._records(pictures, True, progress).items()
            if record.proposals
        }

    def prune(self, limit_bytes: int = LIMIT_BYTES) -> int:
        """At the end of a run: remove the longest unused records of any model, down to the limit; bytes removed.

        Nothing that this run used is removed.
        """
        return prune_records(self.root, limit_bytes, self._used)

    def _records(self, pictures: Sequence[Picture], proposals: bool, progress: Progress | None) -> dict[int, Record]:
        """The record of every picture by its id, from disk or computed; audits come first."""
        records: dict[int, Record] = {}
        unsure: list[Picture] = []
        missing: list[Picture] = []
        for picture in pictures:
            path = self._path(picture)
            asked_before = path in self._used
            record = self._stored(path, picture, proposals)
            if record is None:
                missing.append(picture)
                continue
            records[picture.id] = record
            self._counts["hits"] += not asked_before
            if path not in self._sure:
                unsure.append(picture)
        chance = random.SystemRandom()
        for picture, path, tensor in self._prepared(self._chosen(unsure, records, chance)):
            self._audit(picture, path, records[picture.id], self._compute(picture, tensor, proposals))
        chance.shuffle(missing)
        for done, (picture, path, tensor) in enumerate(self._prepared(missing), start=1):
            record = self._stored(path, picture, proposals)  # another process may have been faster
            self._counts["hits" if record else "computed"] += 1
            if record is None:
                record = self._compute(picture, tensor, proposals)
                write_record(path, record)
                self._used.add(path)
                self._sure.add(path)
            records[picture.id] = record
            if progress:
                progress(done, len(missing))
        refuse_lost((picture.id for picture in pictures), records)
        return {picture.id: records[picture.id] for picture in pictures}

    def _chosen(
        self, unsure: Sequence[Picture], records: Mapping[int, Record], chance: random.Random
    ) -> Sequence[Picture]:
        """Those of the pictures whose records are audited; one with detections among them, as empty ones show little."""
        if not unsure or not self._audit_share:
            return ()
        chosen = chance.sample(unsure, min(len(unsure), max(1, math.ceil(self._audit_share * len(unsure)))))
        telling = [picture for picture in unsure if len(records[picture.id].detections)]
        if telling and not any(len(records[picture.id].detections) for picture in chosen):
            chosen.append(chance.choice(telling))
        return chosen

    def _path(self, picture: Picture) -> Path:
        digest = file_digest(picture)
        return self.folder / digest[:2] / f"{digest}.npz"

    def _stored(self, path: Path, picture: Picture, proposals: bool) -> Record | None:
        """The record in `path` if it is sound and has what is asked for; a damaged one is counted and removed."""
        try:
            record = read_record(path, self._contract)
        except ValueError:
            self._counts["damaged"] += 1
            with suppress(OSError):
                path.unlink()
            return None
        if record is None or (proposals and not record.proposals):
            return None
        if record.size != (picture.width, picture.height):
            return None  # annotated with a size that it has not; reading it says so
        with suppress(OSError):  # somebody else's, or removed by now
            os.utime(path)
        self._used.add(path)
        return record

    def _prepared(self, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, Path, NDArray[np.float32]]]:
        """Each picture with the path of its record and its input float32[1, 3, H, W], prepared while the last one computes."""

        def prepare(picture: Picture) -> tuple[Picture, Path, NDArray[np.float32]]:
            path, tensor = self._path(picture), blank(self._contract, 1)
            letterbox(read_picture(picture), self._contract, tensor[0])
            if self._path(picture) != path:
                raise DatasetError(f"picture {picture.path} changed while it was read", "leave the dataset alone")
            return picture, path, tensor

        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for picture in pictures:
                following = reader.submit(prepare, picture)
                if waiting:
                    yield waiting.result()
                waiting = following
            if waiting:
                yield waiting.result()

    def _compute(self, picture: Picture, tensor: NDArray[np.float32], proposals: bool) -> Record:
        before = None
        if proposals:
            outputs, boxes, scores = self._session.run_and_proposals(tensor)
            before = (boxes[0], scores[0])
        else:
            outputs = self._session.run(tensor)
        return Record((picture.width, picture.height), outputs.detections(0), before, self._cpu)

    def _audit(self, picture: Picture, path: Path, stored: Record, computed: Record) -> None:
        """`AuditError` if a hit is not what is computed now."""
        if message := difference(stored, computed):
            raise AuditError(
                f"the stored reference of picture {picture.path} is not what onnxruntime computes now: {message} "
                f"(record {path}, computed on {stored.cpu}; this is {self._cpu})",
                "something has changed that the key does not know, such as a file inside of an installed library: delete "
                f"{self.folder} and run again; if it happens again, compare what the two machines compute",
            )
        self._counts["audited"] += 1
