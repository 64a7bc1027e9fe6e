"""The store of artifacts: each is built once, whole, for every process that asks.

An artifact is a folder `<root>/<kind>/<key>/` whose key is a hash of everything that its content depends on: what its maker
names, and by one rule for all of them the maker's own sources (`sources.py`). It is built under a lock in a folder of its
own, described by `manifest.json`, and renamed: it is there completely or not at all. A damaged one is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout
from msgspec import Struct, to_builtins

from fcos_lib.errors import StoreError
from fcos_lib.files import changeable_by_others, read_plain, sha256_of
from fcos_lib.records import plain_json, record_of
from fcos_lib.store.sources import dependencies

FORMAT = 1
MANIFEST = "manifest.json"
_MANIFEST_BYTES = 16 << 20


class StoredFile(Struct):
    """A file of an artifact, as its manifest has it."""

    sha256: str
    size: int
    """Bytes."""


class Manifest(Struct):
    """What `manifest.json` of an artifact holds."""

    format: int
    kind: str
    key: str
    inputs: dict[str, Any]
    files: dict[str, StoredFile]
    """By name in the folder."""
    built_at: str
    seconds: float


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the artifact in a folder; None if there is none that this release reads."""
    try:
        manifest = record_of(plain_json(read_plain(folder / MANIFEST, _MANIFEST_BYTES)), Manifest)
    except (OSError, ValueError):
        return None
    return manifest if manifest.format == FORMAT else None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished artifact: its folder, its key and what it was made from."""

    path: Path
    kind: str
    key: str
    provenance: Mapping[str, Any]
    files: Mapping[str, str]
    """SHA-256 of each file in the folder, by name."""
    built: bool
    """True if this call built it, False if it was there."""


def content_key(kind: str, inputs: Mapping[str, Any]) -> str:
    """Key of an artifact: 20 hex digits over its kind, its inputs (JSON-ready) and the store's format."""
    text = json.dumps({"format": FORMAT, "kind": kind, "inputs": inputs}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def key_of(folder: Path) -> str:
    """The key of the artifact that is being built in `folder`."""
    return folder.name.strip(".").partition("-")[0]


class Store:
    """A folder of artifacts, shared by processes. What it holds is run, so no folder is used that every user may change."""

    def __init__(self, root: Path) -> None:
        """Open or create the folder; `StoreError` if it cannot be written, or can be by everybody."""
        self.root = root.absolute()
        with system_errors_named(f"the artifact folder {self.root} cannot be written"):
            own_folder(self.root, "its models are run", "--artifacts")
            probe = self.root / f".probe-{uuid4().hex}"
            probe.open("xb").close()
            probe.unlink()

    def get(
        self, kind: str, inputs: Mapping[str, Any], build: Callable[[Path], object], *, wait_s: float = 3600
    ) -> Artifact:
        """The artifact for these inputs; `build(folder)` fills an empty folder if it does not exist yet.

        The key covers the module of `build` as well, with all that it imports. Whatever `build` raises is passed on, and
        nothing of its folder stays. `StoreError` if another process takes longer than `wait_s` seconds to build it.
        """
        inputs = {**inputs, **dependencies(build.__module__)}
        key = content_key(kind, inputs)
        final = self.root / kind / key
        with system_errors_named(f"building {kind} in {self.root} failed"):
            for folder in (final.parent, self.root / "locks"):
                own_folder(folder, "its models are run", "--artifacts")
            if artifact := self._read(kind, key, final):
                return artifact
            with locked(self.root / "locks" / f"{kind}-{key}.lock", f"building {kind} {key}", wait_s):
                return self._read(kind, key, final) or self._build(kind, key, inputs, final, build)

    def _build(
        self, kind: str, key: str, inputs: Mapping[str, Any], final: Path, build: Callable[[Path], object]
    ) -> Artifact:
        for leftover in final.parent.glob(f".{key}-*"):  # of a process that died; the lock says nobody is in there
            shutil.rmtree(leftover, ignore_errors=True)
        if final.is_symlink() or final.is_file():
            final.unlink()
        elif final.exists():
            shutil.rmtree(final)
        with folder_made_whole(final, f".{key}-{os.getpid()}") as folder:
            started = time.time()
            build(folder)
            files = {
                path.relative_to(folder).as_posix(): StoredFile(sha256_of(path), path.stat().st_size)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            built_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            manifest = Manifest(FORMAT, kind, key, dict(inputs), files, built_at, round(time.time() - started, 2))
            text = json.dumps(to_builtins(manifest), indent=1, sort_keys=True)
            (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
            for path in (folder, *folder.rglob("*")):
                _keep_from_others(path)
        return Artifact(final, kind, key, inputs, {name: file.sha256 for name, file in files.items()}, built=True)

    def _read(self, kind: str, key: str, final: Path) -> Artifact | None:
        """The artifact in `final` if it is complete, undamaged and nobody else's."""
        manifest = read_manifest(final)
        if manifest is None or manifest.key != key:
            return None
        try:
            for name, file in manifest.files.items():
                path = final / name
                if final.resolve() not in path.resolve().parents or path.is_symlink():
                    return None  # nothing is read outside of the folder, whatever the manifest says
                if path.stat().st_size != file.size or sha256_of(path) != file.sha256:
                    return None
            theirs = (final, *(final / name for name in manifest.files))
            if final.is_symlink() or any(map(changeable_by_others, theirs)):
                return None
        except (OSError, ValueError):
            return None
        hashes = {name: file.sha256 for name, file in manifest.files.items()}
        return Artifact(final, kind, key, manifest.inputs, hashes, built=False)


@contextmanager
def system_errors_named(what: str, option: str = "--artifacts") -> Iterator[None]:
    """An `OSError` inside becomes a `StoreError`: what cannot be done and why, and `option`, which takes another folder."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{what} ({error.strerror or error})",
            f"check free space and permissions, or pass another folder with {option} FOLDER",
        ) from error


@contextmanager
def folder_made_whole(final: Path, draft: str) -> Iterator[Path]:
    """A folder to be filled, which has the name `draft` until it is whole and is gone if filling it fails."""
    folder = final.with_name(draft)
    folder.mkdir()
    try:
        yield folder
        os.rename(folder, final)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def locked(lock: Path, doing: str, wait_s: float) -> Iterator[None]:
    """Alone among the processes that use this lock file; `doing` is what for.

    `StoreError` after `wait_s` seconds: who dies gives the lock back, but who stands still never does.
    """
    file = FileLock(lock, timeout=wait_s)
    try:
        file.acquire()
    except Timeout as error:
        raise StoreError(
            f"another process has been {doing} for more than {wait_s:g} s",
            f"look which process holds {lock} (fuser -v) and whether it is stopped; end it and run again",
        ) from error
    try:
        yield
    finally:
        file.release()


def own_folder(folder: Path, why: str, option: str) -> None:
    """Make the folder if it is missing; `StoreError` if it cannot be, or if every user may replace what is found there.

    `why` says what that is believed for, `option` which option takes another folder.
    """
    with system_errors_named(f"the folder {folder} cannot be written", option):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _keep_from_others(folder)  # whatever the umask
        open_to_all = changeable_by_others(folder)
    if open_to_all:
        raise StoreError(
            f"every user of this machine can change {folder}, and {why}",
            f"chmod o-w {shlex.quote(str(folder))} if you trust what is in it, or pass another with {option} FOLDER",
        )


def _keep_from_others(path: Path) -> None:
    """Take away every other user's right to change it, and that of the group to a file: aclruntime loads no OM that others may change."""
    mode = stat.S_IMODE(path.stat().st_mode)
    refused = stat.S_IWOTH if path.is_dir() else stat.S_IWOTH | stat.S_IWGRP
    if mode & refused:
        path.chmod(mode & ~refused)
