"""Plain paths: `atc` and aclruntime get a copy under a plain name of what lies in a folder with a name that they refuse.

Both take ASCII letters, digits and `._/-` only, and look at a path without its links (GE's `CheckInputPathValid`, aclruntime's
check of a model), so that no link helps. A copy lives for one call, in a folder of this process alone below that for temporary
files. What a killed process left there goes when the next one looks for a place.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from fcos_lib.errors import FcosError, StoreError
from fcos_lib.files import private_folder

_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_FALLBACKS = ("/tmp", "/var/tmp", "/dev/shm")
"""Where a copy goes if the folder for temporary files has such a name itself."""
_PREFIX = "plain-"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WEIGHTS = "weight"
"""What atc puts beside the OM with `--external_weight`, and what has to be beside it (ATC user guide)."""


def is_plain(path: Path) -> bool:
    """Whether atc and aclruntime take the path, which need not exist."""
    return all(_PLAIN.fullmatch(text) for text in (os.path.abspath(path), os.path.realpath(path)))


class PlainPaths:
    """Plain names for files and folders until the end of a `with`; what has one already keeps it, and nothing is copied.

    In the end what was written to a folder is copied to the real one, unless there was an error. The real paths take the place
    of the plain ones in `log`, if there is such a file, and in an `FcosError` on its way. `OSError` where a copy cannot be
    written; `StoreError` if there is no folder with a plain name to write it in.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._real: dict[str, str] = {}
        self._written: dict[Path, Path] = {}
        self._folder: Path | None = None
        self._lock = -1

    def __enter__(self) -> PlainPaths:
        for parent in _parents():
            with suppress(OSError):
                if parent.is_dir():
                    _remove_left(private_folder(parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is None:
            return
        try:
            for plain, folder in self._written.items() if error is None else ():
                _copy_all(plain, folder)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
        if self._log and self._log.is_file():
            said = self._log.read_bytes().decode(errors="surrogateescape")
            self._log.write_bytes(self._named(said).encode(errors="surrogateescape"))
        if isinstance(error, FcosError):
            named = type(error)(self._named(error.found), self._named(error.advice))
            raise named.with_traceback(trace) from error.__cause__

    def file(self, path: Path) -> Path:
        """The file, or a copy of it with its rights; its ending stays, its name does not. An OM's weights outside of it come along."""
        if is_plain(path):
            return path
        copy = self._empty() / f"model{path.suffix if _PLAIN.fullmatch(path.suffix) else ''}"
        shutil.copy(path, copy)
        self._real[str(copy)] = str(path)
        if copy.suffix == ".om" and (path.parent / _WEIGHTS).is_dir():
            shutil.copytree(path.parent / _WEIGHTS, copy.parent / _WEIGHTS)
        return copy

    def folder(self, path: Path) -> Path:
        """The folder, or an empty one to write in."""
        if is_plain(path):
            return path
        empty = self._empty()
        self._real[str(empty)], self._written[empty] = str(path), path
        return empty

    def _empty(self) -> Path:
        if self._folder is None:
            self._folder, self._lock = _own_folder()
        return Path(tempfile.mkdtemp(dir=self._folder))

    def _named(self, text: str) -> str:
        for plain, path in self._real.items():
            text = text.replace(plain, path)
        return text


def _own_folder() -> tuple[Path, int]:
    """A new folder that only this user may enter, and the descriptor whose lock says that its process lives."""
    for parent in _parents():
        with suppress(OSError):
            return _locked_folder(private_folder(parent))
    raise StoreError(
        f"{tempfile.gettempdir()}, the folder for temporary files, cannot be used for files that atc or aclruntime read, "
        f"and neither can {', '.join(_FALLBACKS)}",
        "set TMPDIR to a folder of your own whose whole path has only ASCII letters, digits and ._/- in it",
    )


def _parents() -> list[Path]:
    """Where this user's folder may be, whether it is there or not: below that for temporary files, or below the next."""
    temporary = map(Path, dict.fromkeys((tempfile.gettempdir(), *_FALLBACKS)))
    return [folder / f"fcos_lib-{os.getuid()}" for folder in temporary if is_plain(folder)]


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with suppress(FileNotFoundError):  # another process took it for one of a dead one before it was locked
            descriptor = os.open(folder, _OPEN)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, descriptor
            os.close(descriptor)


def _remove_left(parent: Path) -> None:
    """Remove the folders whose processes are dead: nobody holds their locks."""
    for left in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(left, _OPEN)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


def _copy_all(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            shutil.copytree(path, target / path.name, dirs_exist_ok=True)
        else:
            shutil.copy(path, target / path.name)
