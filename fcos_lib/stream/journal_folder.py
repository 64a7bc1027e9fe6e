"""The folder of a journal: what it is about, who is working in it, and when it is started over.

journal.json       what is evaluated: fingerprint, pictures, batch size; written once, when the journal is started
shard-00000.jsonl  results, a line per batch (`journal_records.py`)
finished.json      the runs that saw the journal complete
journal.lock       who is at work (`journal_locks.py`)
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.errors import JournalError
from fcos_lib.files import read_plain
from fcos_lib.store.artifacts import own_folder
from fcos_lib.stream.journal_locks import Locks
from fcos_lib.stream.journal_records import Plan, parse_json

FORMAT = 1
HEADER, FINISHED = "journal.json", "finished.json"
_SHARD = re.compile(r"shard-\d{5,}\.jsonl", re.ASCII)
_PATIENCE = 10.0
"""Seconds in which other runs may end before a journal that must be started over is refused; merging takes one or two."""
_HEADER_BYTES = 1 << 26
_AGAIN = "pass --fresh to start over, or another folder"


@dataclass(frozen=True, slots=True)
class Header:
    """`journal.json`."""

    token: str
    """Names this journal in every record: a hash of the subject, then chance, so that a journal started over differs."""
    subject: Mapping[str, Any]
    """Fingerprint, batch size and pictures: what must be the same for results to be one evaluation."""
    started_by: str
    """Run id."""


def parse_header(data: bytes) -> Header:
    """Checked content of `journal.json`; `ValueError` says what is wrong with it."""
    content = parse_json(data)
    if content.get("format") != FORMAT:
        raise ValueError(f"its format is {str(content.get('format'))[:20]}, not {FORMAT}")
    token, subject, started_by = content.get("token"), content.get("subject"), content.get("started_by")
    if not isinstance(token, str) or not isinstance(subject, dict) or not isinstance(started_by, str):
        raise ValueError("it lacks its token, subject or run id")
    if not token.startswith(f"{digest_of(subject)}-"):
        raise ValueError("its token does not belong to its subject")
    return Header(token, subject, started_by)


def finished_by(folder: Path) -> tuple[str, ...] | None:
    """The runs that saw the folder's journal complete; None if none did."""
    data = _read(folder / FINISHED)
    return None if data is None else parse_finished(data)


def parse_finished(data: bytes) -> tuple[str, ...]:
    """Run ids of `finished.json`; none if it is damaged."""
    try:
        runs = parse_json(data).get("runs")
    except ValueError:
        return ()
    return tuple(run for run in runs if isinstance(run, str)) if isinstance(runs, list) else ()


def subject_of(fingerprint: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Everything that must be equal, as JSON gives it back."""
    subject = {
        "fingerprint": dict(fingerprint),
        "batch size": plan.batch,
        "batches per shard": plan.shard_batches,
        "pictures": plan.picture_ids,
    }
    return parse_json(json.dumps(subject, allow_nan=False).encode())


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The first fields in which two subjects differ, with both values shortened; an empty string if they are equal."""
    old, new = _flat(theirs), _flat(ours)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {old.get(name, 'absent')} there, {new.get(name, 'absent')} here" for name in names[:3])


def enter(
    folder: Path, subject: Mapping[str, Any], run_id: str, *, fresh: bool, keep_finished: bool
) -> tuple[Locks, str]:
    """Join the folder's journal or start it (over); the locks, with the users' one taken, and the journal's token.

    A finished journal is started over, whatever it is about, unless this run finished it or `keep_finished`.
    `JournalError` if one that counts is about something else or damaged, or if one must be started over while another run
    is working in it, `StoreError` if every user may change the folder.
    """
    own_folder(folder, "results that are found there count", "--journal")
    locks = Locks(folder)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with locks.guard():  # given back between attempts: the others need it to finish
                header = _joinable(folder, subject, run_id, fresh=fresh, keep_finished=keep_finished)
                if header is None and locks.take_users():
                    header = _start(folder, subject, run_id)
                if header is not None:
                    locks.share_users()
                    return locks, header.token
            if time.monotonic() > deadline:
                raise JournalError(
                    f"another run is working in {folder}, so it cannot be started over",
                    "wait until it has ended, or pass another folder",
                )
            time.sleep(0.2)
    except BaseException:
        locks.close()
        raise


def mark_finished(folder: Path, locks: Locks, run_id: str) -> None:
    """Note that this run saw the journal complete."""
    with locks.guard():
        runs = finished_by(folder) or ()
        if run_id not in runs:
            _write(folder / FINISHED, {"runs": [*runs, run_id]})


def disown(folder: Path, locks: Locks) -> None:
    """Take the header away: without one, a journal is begun again."""
    with locks.guard():
        (folder / HEADER).unlink(missing_ok=True)


def shard_path(folder: Path, shard: int) -> Path:
    """The file of one shard."""
    return folder / f"shard-{shard:05d}.jsonl"


def _joinable(
    folder: Path, subject: Mapping[str, Any], run_id: str, *, fresh: bool, keep_finished: bool
) -> Header | None:
    """The header of the journal that is there and shall be used, None if one must be started."""
    data, runs = _read(folder / HEADER), finished_by(folder)
    if data is None:
        return None
    if runs is not None and not keep_finished and run_id not in runs:
        return None  # it has served its run, so that nothing is lost, whatever it was about
    try:
        header = parse_header(data)
    except ValueError as error:
        if fresh:
            return None
        raise JournalError(f"{folder / HEADER} cannot be used: {error}", _AGAIN) from error
    if fresh and header.started_by != run_id:  # of several workers of a run, the first has started it over
        return None
    differs = difference(header.subject, subject)
    if differs:
        raise JournalError(f"the journal in {folder} is about something else: {differs}", _AGAIN)
    return header


def clear(folder: Path) -> None:
    """Remove a journal, its header first: without one, whatever is left is no journal. Only for who uses it alone."""
    (folder / HEADER).unlink(missing_ok=True)
    for entry in list(os.scandir(folder)):
        if entry.name == FINISHED or _SHARD.fullmatch(entry.name):
            os.unlink(entry.path)


def _start(folder: Path, subject: Mapping[str, Any], run_id: str) -> Header:
    """Remove what an earlier journal left and begin; broken off anywhere, it is begun again, as there is no header."""
    clear(folder)
    header = Header(f"{digest_of(subject)}-{uuid.uuid4().hex[:16]}", subject, run_id)
    content = {"format": FORMAT, "token": header.token, "started_by": run_id, "subject": subject}
    _write(folder / HEADER, content | {"started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    return header


def _read(path: Path) -> bytes | None:
    """The bytes of a small file, None if there is none."""
    try:
        return read_plain(path, _HEADER_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.EINVAL):
            raise JournalError(f"{path} cannot be used: {error.strerror}", _AGAIN) from error
        raise


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small file, whole or not at all; only under the guard, which makes one name for the partial file enough."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with partial.open("xb") as file:
        file.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def digest_of(subject: Mapping[str, Any]) -> str:
    """16 hex digits that differ if subjects do."""
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:16]


def _flat(subject: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a subject and of its fingerprint, by a name that says which, as short texts that differ if they do."""
    fingerprint = subject.get("fingerprint")
    fields = {f"'{name}'": value for name, value in fingerprint.items()} if isinstance(fingerprint, dict) else {}
    fields |= {name: value for name, value in subject.items() if name != "fingerprint"}
    return {name: _short(json.dumps(value, ensure_ascii=False, sort_keys=True)) for name, value in fields.items()}


def _short(text: str) -> str:
    if len(text) <= 72:
        return text
    return f"{text[:40]}... (sha256 {hashlib.sha256(text.encode()).hexdigest()[:8]})"
