"""May torch read this file? Asked before it does: what it names, what it unpacks to, and how long that takes.

`torch.load(weights_only=True)` runs nothing of a file, but allocates whatever the file asks for: a compressed archive, a
`bytearray` of any length, a tensor of any shape over four bytes. A file of plain weights needs none of that.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, cast

from fcos_lib.untrusted import open_plain

MOST_BYTES = 4 << 30
"""An FCOS with its optimizer takes less than 1 GiB."""
_MOST_PICKLE = 16 << 20
_MOST_OPERATIONS = 2_000_000
_PLAIN = re.compile(
    r"collections (?:OrderedDict|Counter)|torch\._utils _rebuild_(?:tensor_v2|parameter)|torch(?:\.storage)? \w+Storage"
    r"|torch (?:Size|device|u?int\d+|b?float\d+|complex\d+|bool)|_codecs encode|(?:builtins|__builtin__) (?:set|complex)"
)
"""What plain weights are made of; `_codecs encode` is how pickle's protocol 2 writes bytes."""
_BY_NAME_ON_THE_STACK = frozenset({"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"})
_LEGACY_PICKLES = 5
"""Magic number, protocol, byte order and sizes, the content, and the names of its storages (torch before 1.6)."""


def check_file(path: Path) -> int:
    """The file's size, after checking that it holds plain weights and nothing that grows; `ValueError` says what else."""
    with open_plain(path) as file:
        size = file.seek(0, io.SEEK_END)
        if size > MOST_BYTES:
            raise ValueError(f"it has {size:,} bytes, more than {MOST_BYTES:,}")
        file.seek(0)
        if file.read(2) == b"PK":
            _check_archive(file, size)
        else:
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                _check_pickle(file)
    return size


def _check_archive(file: IO[bytes], size: int) -> None:
    """Stored members are never larger than the file, and no two of them share their bytes."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
            if packed:
                raise ValueError(f"its member {packed[0][:80]!r} is compressed, as torch never does")
            if sum(member.file_size for member in members) > size:
                raise ValueError("its members take more bytes than it has")
            contents = [member for member in members if member.filename.endswith("data.pkl")]
            if len(contents) != 1 or contents[0].file_size > _MOST_PICKLE:
                raise ValueError(f"it has {len(contents)} members data.pkl, or one of more than {_MOST_PICKLE:,} bytes")
            _check_pickle(io.BytesIO(archive.read(contents[0])))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:  # all of zipfile's
        raise ValueError(f"its archive is damaged: {error}") from error


class _Bounded:
    """A file of which one pickle is read: lengths are the file's own, and memory is asked for before bytes are there."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, _MOST_PICKLE

    def read(self, count: int) -> bytes:
        """So many bytes, or those that are left; `ValueError` for more than a pickle has."""
        self._left -= count
        if self._left < 0:
            raise ValueError(f"it has a pickle of more than {_MOST_PICKLE:,} bytes")
        return self._file.read(count)

    def readline(self) -> bytes:
        """A line, or its first part if that is all that is left."""
        line = self._file.readline(self._left + 1)
        self._left -= len(line)
        return line


def _check_pickle(file: IO[bytes]) -> None:
    """Read one pickle's operations, none of which is carried out."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], _Bounded(file))), start=1):
        if count > _MOST_OPERATIONS:
            raise ValueError(f"it takes more than {_MOST_OPERATIONS:,} operations to read")
        if operation.name in _BY_NAME_ON_THE_STACK:
            raise ValueError(f"it makes objects by {operation.name}")
        if operation.name == "GLOBAL" and not _PLAIN.fullmatch(str(argument)):
            raise ValueError(f"it names {str(argument).replace(' ', '.')[:120]}, which is no part of plain weights")
