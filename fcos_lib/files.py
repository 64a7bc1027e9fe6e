"""Files: reading one that a stranger may have made, bounded and only if it is plain, showing its text, writing one whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\w*\[)", re.MULTILINE)
"""Where GitHub's and Azure's runners look for commands in a log: `::error`, `##[error]`, `##vso[...]`."""


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file (or a link to one) for reading; `OSError` for pipes, devices and folders, without waiting for them."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a device may already do something
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    return file


def read_plain(path: Path, most: int) -> bytes:
    """All bytes of a regular file; `OSError` as `open_plain` has it, and if there are more than `most`."""
    with open_plain(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return data


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file as 64 hex digits, read in pieces; `OSError` for what is none."""
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name, wait for the disk, and rename it; `OSError` as it comes, and for a device or a pipe.

    Readers on any host see the old file, the new one or none. A killed writer leaves at most a hidden `.<name>-<hex>.tmp`.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # root would put a file in the place of /dev/null
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    temporary = path.with_name(f".{path.name}-{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def too_many_values(data: bytes, most: int) -> bool:
    """True if this JSON may hold more than `most` values. Told before parsing: each takes up to 130 bytes of memory, and one of the file."""
    return 1 + data.count(b",") + data.count(b"[") + data.count(b"{") > most


def whole_number(text: str) -> int:
    """For `parse_int` of `json`: `ValueError` for more digits than any number of ours has, as Python takes quadratic time."""
    if len(text) > 100:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Without Python's search for cycles: it looks through what was read again and again, and JSON has none."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def changeable_by_others(path: Path) -> bool:
    """True if every user of this machine may change the file, or what is in the folder; for a sticky folder as well."""
    return bool(path.stat().st_mode & stat.S_IWOTH)


def private_folder(folder: Path) -> Path:
    """The folder, made for this user alone if it is missing; `OSError` if it is a link or somebody else's, or others may write in it.

    For a place in a folder for everybody, such as /tmp, where somebody else may have been first.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OSError(errno.EPERM, "it is somebody else's, or others can change it", str(folder))
    return folder


def close_umask() -> None:
    """From now on this process and those it starts make nothing that every user may change, however open the umask was."""
    os.umask(os.umask(0o077) | stat.S_IWOTH)


def printable(text: str, longest: int = 4000) -> str:
    """Text from a file, safe on a terminal and in a log: not endless, no control character but the end of a line, no command."""
    cut = text if len(text) <= longest else f"{text[:longest]}... ({len(text) - longest} more characters)"
    if cut.isprintable() and "##" not in cut and not cut.lstrip().startswith("::"):
        return cut
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in cut)
    return _COMMAND.sub(lambda match: f"{match[0]} ", shown)


def one_line(text: str, longest: int = 400) -> str:
    """The same in one line, which no text can end to begin another."""
    return printable(text.replace("\n", " "), longest)


def some(names: Iterable[Any]) -> str:
    """The first five of these ids or names, and how many there are if that is not all of them."""
    ordered = sorted(names)
    listed = ", ".join(map(str, ordered[:5]))
    return f"{listed}, ... ({len(ordered)} in all)" if len(ordered) > 5 else listed
