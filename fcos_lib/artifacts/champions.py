"""Champions: the last accepted OM of each place, kept with what it was accepted on until another takes over.

A place is a folder `champions/<place>/` below the artifact folder with one numbered folder per champion, the highest in
office. Each holds the OM and `manifest.json`; it is filled under another name and renamed, so it is there completely or not
at all. Predecessors keep their manifest, all but the last few lose their OM.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct, to_builtins

from fcos_lib.contract import InputLayout
from fcos_lib.errors import FcosError, StoreError, UsageError
from fcos_lib.files import changeable_by_others, sha256_of
from fcos_lib.records import Form
from fcos_lib.store.artifacts import MANIFEST, folder_made_whole, locked, system_errors_named

FORMAT: Final = 1
KEPT = 3
"""OMs that a place keeps: the champion's and those of its last predecessors."""
FOLDER = "champions"
_WAIT_S = 600.0
"""For another process that accepts an OM, which may be copied over a network."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one champion serves. How its OM was made is no part of it: that is what a challenger may do better."""

    contract: str
    """The contract's name."""
    soc_version: str
    batches: tuple[int, ...]
    """The batch size, or the profiles of an OM with several."""
    layout: InputLayout
    stand_in: bool
    """True if the emulator had any part in it. Part of the place, so that no such OM ever stands where hardware's do."""

    def __post_init__(self) -> None:
        """`UsageError` unless every field can be part of a folder's name."""
        named = re.fullmatch(r"\w[\w-]{0,99}", self.contract, re.ASCII) and re.fullmatch(
            r"\w{1,60}", self.soc_version, re.ASCII
        )
        if not named or not self.batches or any(not 1 <= batch <= 4096 for batch in self.batches):
            raise UsageError(
                f"there is no place for contract {self.contract!r:.60}, chip {self.soc_version!r:.60}, batch {self.batches!r:.60}",
                "pass the results.json of a run of this suite",
            )

    @property
    def name(self) -> str:
        """`coco_r50-Ascend310P3-batch8`; of an OM with profiles `...-batches1_4_8`; with AIPP and STAND-IN at the end."""
        sizes = "_".join(map(str, sorted(self.batches)))
        if len(sizes) > 60:
            sizes = f"{len(self.batches)}-{hashlib.sha256(sizes.encode()).hexdigest()[:12]}"
        batch = f"batch{sizes}" if len(self.batches) == 1 else f"batches{sizes}"
        aipp = "-aipp" if self.layout is InputLayout.UINT8_NHWC else ""
        return f"{self.contract}-{self.soc_version}-{batch}{aipp}{'-STAND-IN' if self.stand_in else ''}"


@dataclass(frozen=True, slots=True)
class Champion:
    """An accepted OM, its file checked when this was read."""

    place: Place
    number: int
    """The place's first champion is 1."""
    om: Path
    sha256: str
    who: str
    at: str
    """UTC, such as `2026-11-23T09:33:36Z`."""
    why: str
    facts: Mapping[str, Any]
    """What it was accepted on; JSON-ready. `accept` of the command line writes `provenance`, `cost`, `verdicts`, `run`."""


class _Manifest(Struct, forbid_unknown_fields=True):
    """What `manifest.json` of a champion holds."""

    format: Literal[1]
    place: Place
    om: str
    sha256: str
    who: str
    at: str
    why: str
    facts: dict[str, Any]


_FORM = Form(
    _Manifest,
    "a champion's manifest",
    "restore the folder, or accept a champion again; without the folder its predecessor is in office",
    most_bytes=64 << 20,
    version=("format", 1, FORMAT),
    error=StoreError,
)


def champion_of(root: Path, place: Place) -> Champion | None:
    """The champion of a place below the artifact folder `root`, None if nobody was ever accepted.

    `StoreError` if it is damaged; no predecessor takes its place unasked.
    """
    folder = root / FOLDER / place.name
    number = max(_numbers(folder), default=0)
    while number:
        try:
            return _read(folder, number, place)
        except StoreError:
            newer = max(_numbers(folder), default=0)
            if newer == number:
                raise
            number = newer  # others took over while this one was read, and its OM may be forgotten already
    return None


def accept(
    root: Path, place: Place, om: Path, facts: Mapping[str, Any], *, sha256: str, who: str, why: str = ""
) -> Champion:
    """Make the OM the champion of its place, for every process at once, and return it.

    The file is copied, and the copy must have this SHA-256. `StoreError` if it has not or the folder cannot be written; the
    champion in office stays.
    """
    folder = root / FOLDER / place.name
    with system_errors_named(f"no champion can be accepted in {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        (root / "locks").mkdir(exist_ok=True)
        with locked(root / "locks" / f"champion-{place.name}.lock", f"accepting {place.name}", _WAIT_S):
            number = _install(folder, place, om, facts, sha256=sha256, who=who, why=why)
            _forget_oms(folder)
            return _read(folder, number, place)


def _install(folder: Path, place: Place, om: Path, facts: Mapping[str, Any], *, sha256: str, who: str, why: str) -> int:
    for leftover in folder.glob(".new-*"):  # of a process that died; the lock says nobody is in there
        shutil.rmtree(leftover, ignore_errors=True)
    number = max(_numbers(folder), default=0) + 1
    with folder_made_whole(folder / f"{number:04}", f".new-{os.getpid()}") as draft:
        shutil.copyfile(om, draft / om.name)  # a link would change with the next OM that is written into this file
        if (digest := sha256_of(draft / om.name)) != sha256:
            raise StoreError(f"{om} has the SHA-256 {digest[:12]}, not {sha256[:12]}", "run the suite on it again")
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        manifest = _Manifest(FORMAT, place, om.name, sha256, who, at, why, dict(facts))
        text = json.dumps(to_builtins(manifest), indent=1, sort_keys=True, allow_nan=False)
        (draft / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return number


def _forget_oms(folder: Path) -> None:
    for number in sorted(_numbers(folder))[:-KEPT]:
        for om in (folder / f"{number:04}").glob("*.om"):
            om.unlink(missing_ok=True)


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(path.name) for path in folder.iterdir() if re.fullmatch(r"[0-9]{4,9}", path.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{folder} cannot be read ({error.strerror})", "check its permissions") from error


def _read(folder: Path, number: int, place: Place) -> Champion:
    own = folder / f"{number:04}"
    try:
        manifest = _FORM.read(own / MANIFEST)
        if manifest.place != place:
            raise ValueError("its manifest is of another place")
        if Path(manifest.om).name != manifest.om:
            raise ValueError("its manifest is not what was written")
        om = own / manifest.om
        if om.is_symlink() or any(map(changeable_by_others, (folder, own, om))):
            raise ValueError(f"{om.name} is a link, or every user may change it")
        if sha256_of(om) != manifest.sha256:
            raise ValueError(f"{om.name} is not the file that was accepted")
    except (OSError, ValueError, FcosError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) else error.found if isinstance(error, FcosError) else error
        )
        raise StoreError(f"the champion {own} is damaged ({str(reason)[:200]})", _FORM.advice) from error
    return Champion(place, number, om, manifest.sha256, manifest.who, manifest.at, manifest.why, manifest.facts)
