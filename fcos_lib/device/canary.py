"""Canary: one small batch whose detections are known tells, before and after each use, whether a device still computes the same.

Known is what the first device of the run found with this OM, and for a device that a dead process left behind, what any run
found. Whether that is right is for the gates to say: a canary only keeps a device that begins to compute wrongly from looking
like a worse model.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.contract import InputLayout
from fcos_lib.device.lease import ChangedDeviceError, Lease
from fcos_lib.errors import SessionError, StoreError, refusal_as
from fcos_lib.files import sha256_of, write_whole
from fcos_lib.records import plain_json, record_of
from fcos_lib.store.artifacts import content_key
from fcos_lib.store.sources import dependencies
from fcos_lib.stream.dataset import Dataset, Picture
from fcos_lib.stream.feed import load_batch

PICTURES = 2
"""They fill the slots of a batch over and over."""

_Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What a canary found."""

    run: str
    device: str
    at: str
    refused: str
    """What the session said instead of detections, such as that there are NaN among them; empty if there were some."""
    rows: tuple[_Row, ...]
    """Slot, label, x1, y1, x2, y2 and score of every detection."""


def canary_pictures(dataset: Dataset) -> tuple[Picture, ...]:
    """The pictures with the most objects, of as many the first: a device that errs shows it in none where nothing is found."""
    return tuple(sorted(dataset.pictures, key=lambda picture: -dataset.objects_of.get(picture.id, 0))[:PICTURES])


class Canary:
    """Asks sessions of one run about the same pictures."""

    def __init__(self, folder: Path, run: str, pictures: Sequence[Picture]) -> None:
        """`folder` keeps what is known; `run` is the same for all workers of a run."""
        self._folder, self._run = folder, run
        self._pictures = tuple(pictures[:PICTURES])
        self._code = dependencies(__name__)  # what other code found is no evidence against a device
        self._loaded: dict[InputLayout, NDArray[Any]] = {}

    def ask(self, session: OmSession, held: Lease, om_sha256: str) -> None:
        """Make sure of the device that is held, which costs one batch and leaves no trace in the session's timings.

        Every known detection has to be found again, bit for bit. Others may come with them: a runtime that leaves rows of the
        batch before in the next one is for the gates to find. So is what vanishes when the same batch is run again.
        `DeviceError` if the device fails, `ChangedDeviceError` if it finds other than before; `StoreError` if that cannot be kept.
        """
        path = self._folder / f"{self._key(session, om_sha256)}.json"
        found_now, known = self._found(session), _read(path)
        if known is None or (known.run != self._run and not held.left_by):
            self._write(path, found_now)
        elif not _still(known, found_now) and not _still(known, found_now := self._found(session)):
            lost = sum((Counter(known.rows) - Counter(found_now.rows)).values())
            now = f"it says: {found_now.refused}" if found_now.refused else f"{lost} of them are not found any more"
            raise ChangedDeviceError(
                f"device {session.device_id} no longer computes what it computed: in the canary's {len(self._pictures)} pictures, "
                f"device {known.device} found {known.refused or f'{len(known.rows)} detections'} at {known.at}, and {now}",
                "look at npu-smi info -t health and at dmesg; what this device found since then proves nothing. If the "
                f"hardware was changed on purpose, delete {path}",
            )
        held.trust()

    def _found(self, session: OmSession) -> Known:
        if session.layout not in self._loaded:
            loaded = load_batch(self._pictures, session.contract, len(self._pictures), session.layout)
            self._loaded[session.layout] = loaded.tensor
        batch = self._loaded[session.layout]
        tensor = np.ascontiguousarray(batch[np.arange(session.batch) % len(batch)])
        rows: list[_Row] = []
        refused = ""
        try:
            outputs = session.run(tensor)
            for slot in range(session.batch):
                detections = outputs.detections(slot)
                numbers = np.column_stack([detections.labels, detections.boxes, detections.scores]).astype(
                    np.float64
                )  # both sides exact
                rows += [(float(slot), *row) for row in numbers.tolist()]
        except SessionError as error:  # the model's fault, which stays: the gates say so
            refused = error.found
        finally:
            session.reset_timings()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return Known(self._run, str(session.device_id), now, refused, tuple(rows))

    def _key(self, session: OmSession, om_sha256: str) -> str:
        pictures = [[picture.name, sha256_of(picture.path)] for picture in self._pictures]
        contract = session.contract.as_dict()
        about = {"om": om_sha256, "batch": session.batch, "contract": contract, "pictures": pictures}
        return content_key("canary", {**about, **self._code})

    def _write(self, path: Path, found_now: Known) -> None:
        with refusal_as(
            StoreError,
            f"what the canary found cannot be kept in {path.parent}",
            "check free space and permissions, or pass another folder with --artifacts FOLDER",
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(asdict(found_now)).encode())


def _still(known: Known, found_now: Known) -> bool:
    return known.refused == found_now.refused and Counter(known.rows) <= Counter(found_now.rows)


def _read(path: Path) -> Known | None:
    """What is known; None if nothing is, or nothing that can be read."""
    try:
        return record_of(plain_json(path.read_bytes()), Known)
    except (OSError, ValueError):
        return None
