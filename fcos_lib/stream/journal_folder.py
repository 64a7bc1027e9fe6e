"""Folder of a journal: what it is about, which runs finished it, and when it is started over.

journal.json     fingerprint, pictures, batch size, and the runs that saw the journal complete
shard-00000.npz  results of one shard (`journal_shards.py`)
journal.lock     who is at work

A run's own journals lie side by side in one folder, whose lock is held while one is opened or removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fcos_lib.errors import JournalError
from fcos_lib.files import read_plain, whole_number, write_whole
from fcos_lib.store.artifacts import own_folder
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal_shards import LOCK, USERS, Locks, cut

FORMAT = 2
HEADER = "journal.json"
KEPT_S = 30 * 24 * 3600.0
"""How long an interrupted evaluation waits for a run that goes on with it. A decision: a fix seldom takes longer."""
_PARTS = re.compile(
    r"\.?(journal\.json|shard-\d{5,}\.npz)(-[0-9a-f]{32}\.tmp)?|finished\.json|shard-\d{5,}\.jsonl", re.ASCII
)
"""What a journal consists of besides its lock, what a killed writer leaves, and what journals of format 1 had."""
_OWN = re.compile(r".+-[0-9a-f]{16}")
_PATIENCE = 10.0
"""Seconds in which other runs may end before a journal that must be started over is refused; merging takes one or two."""
_HEADER_BYTES = 1 << 26
_AGAIN = "pass --fresh to start over, or another folder"


@dataclass(frozen=True, slots=True)
class Header:
    """`journal.json`."""

    token: str
    """Names this journal in every shard: a hash of the subject, then chance, so that a journal started over differs."""
    subject: Mapping[str, Any]
    """Fingerprint, batch size and pictures: what must be the same for results to be one evaluation."""
    started_by: str
    """Run id."""
    finished_by: tuple[str, ...] = ()
    """Ids of the runs that saw the journal complete."""
    format: int = FORMAT


def parse_header(data: bytes) -> Header:
    """Checked content of `journal.json`; `ValueError` says what is wrong with it."""
    try:
        content = json.loads(data, parse_int=whole_number)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"it is no object of format {FORMAT}")
        token, subject, started_by = content.get("token"), content.get("subject"), content.get("started_by")
        if not isinstance(token, str) or not isinstance(subject, dict) or not isinstance(started_by, str):
            raise ValueError("it lacks its token, subject or run id")
        runs = content.get("finished_by")
        if not isinstance(runs, list) or not all(isinstance(run, str) for run in runs):
            raise ValueError("it does not say which runs finished it")
        if not token.startswith(f"{digest_of(subject)}-"):
            raise ValueError("its token does not belong to its subject")
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    return Header(token, subject, started_by, tuple(runs))


def subject_of(fingerprint: Mapping[str, Any], pictures: Sequence[Picture], batch: int) -> dict[str, Any]:
    """Everything that must be equal, JSON values by name."""
    return {
        "fingerprint": dict(fingerprint),
        "batch size": batch,
        "pictures of each shard": [len(shard) for shard in cut(pictures, batch)],
        "pictures": [picture.id for picture in pictures],
    }


def digest_of(subject: Mapping[str, Any]) -> str:
    """16 hex digits that differ if subjects do."""
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:16]


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The first fields in which two subjects differ, with both values shortened; an empty string if they are equal."""
    old, new = _texts(theirs), _texts(ours)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {old.get(name, 'absent')} there, {new.get(name, 'absent')} here" for name in names[:3])


def _texts(subject: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a subject and of its fingerprint as short texts, which differ if they do."""
    fields = {name: value for name, value in subject.items() if name != "fingerprint"}
    fingerprint = subject.get("fingerprint")
    fields |= {f"'{name}'": value for name, value in fingerprint.items()} if isinstance(fingerprint, dict) else {}
    texts = {name: json.dumps(value, ensure_ascii=False, sort_keys=True) for name, value in fields.items()}
    for name, text in texts.items():
        if len(text) > 72:
            texts[name] = f"{text[:40]}... (sha256 {hashlib.sha256(text.encode()).hexdigest()[:8]})"
    return texts


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
                if header is None and locks.take(USERS):
                    _clear(folder)  # broken off anywhere, it is begun again, as there is no header
                    header = Header(f"{digest_of(subject)}-{uuid.uuid4().hex[:16]}", subject, run_id)
                    _write_header(folder, header)
                if header is not None:
                    locks.take(USERS, shared=True)
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
    """Note that this run saw the journal complete, unless it is given up by now."""
    with locks.guard():
        header = _header(folder)
        if header and run_id not in header.finished_by:
            _write_header(folder, replace(header, finished_by=(*header.finished_by, run_id)))


def disown(folder: Path, locks: Locks) -> None:
    """Take the header away: without one, a journal is begun again."""
    with locks.guard():
        (folder / HEADER).unlink(missing_ok=True)


def remove_those_over(folder: Path, run_id: str) -> None:
    """Remove the own journals beside `folder` that other runs finished, and those that nobody went on with; links stay."""
    for other in list(folder.parent.iterdir()):
        if other == folder or not _OWN.fullmatch(other.name) or other.is_symlink() or not other.is_dir():
            continue
        if _is_over(other, run_id):
            _remove(other)


def _is_over(folder: Path, run_id: str) -> bool:
    with suppress(JournalError, OSError):
        header = _header(folder)
        if header and header.finished_by:
            return run_id not in header.finished_by
    return folder.stat().st_mtime < time.time() - KEPT_S  # the folder changes with each shard that is recorded


def _remove(folder: Path) -> None:
    """Remove a journal unless somebody uses it; what does not belong to it stays, with its folder."""
    try:
        locks = Locks(folder)
    except JournalError:  # open in this process
        return
    try:
        if locks.take(USERS):
            _clear(folder)
            (folder / LOCK).unlink()
            with suppress(OSError):
                folder.rmdir()
    finally:
        locks.close()


def _clear(folder: Path) -> None:
    """Remove a journal, its header first: without one, whatever is left is no journal. Only for who uses it alone."""
    (folder / HEADER).unlink(missing_ok=True)
    for entry in list(os.scandir(folder)):
        if _PARTS.fullmatch(entry.name):
            os.unlink(entry.path)


def _joinable(
    folder: Path, subject: Mapping[str, Any], run_id: str, *, fresh: bool, keep_finished: bool
) -> Header | None:
    """The header of the journal that is there and shall be used, None if one must be started."""
    try:
        header = _header(folder)
    except JournalError:
        if not fresh:
            raise
        header = None
    if header is None or (fresh and header.started_by != run_id):  # of a run's workers, the first has started it over
        return None
    if header.finished_by and not keep_finished and run_id not in header.finished_by:
        return None  # it has served its run, so that nothing is lost, whatever it was about
    differs = difference(header.subject, subject)
    if differs:
        raise JournalError(f"the journal in {folder} is about something else: {differs}", _AGAIN)
    return header


def _header(folder: Path) -> Header | None:
    """The header that is there; None if there is none, `JournalError` if it cannot be used."""
    path = folder / HEADER
    try:
        return parse_header(read_plain(path, _HEADER_BYTES))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise JournalError(f"{path} cannot be used: {error}", _AGAIN) from error


def _write_header(folder: Path, header: Header) -> None:
    write_whole(folder / HEADER, json.dumps(asdict(header), allow_nan=False).encode() + b"\n")
