"""Checkpoints: the weights of a detector, read without running any code that a file may hold."""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from fcos_lib.errors import CheckpointError
from fcos_lib.files import open_plain, sha256_of

if TYPE_CHECKING:
    import torch


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


RENAMED = {
    "bbox_head.fcos_cls.": "bbox_head.conv_cls.",
    "bbox_head.fcos_reg.": "bbox_head.conv_reg.",
    "bbox_head.fcos_centerness.": "bbox_head.conv_centerness.",
}
"""Key prefixes of the 2019 checkpoints (mmdet 1.x) and what mmdet 3.x calls them."""


def todays_key(key: str) -> str:
    """What mmdet 3.x calls a weight."""
    for old, new in RENAMED.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


HASHED_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")
"""The end of a file name of OpenMMLab's: the beginning of the file's SHA-256."""


def verify_name(path: Path) -> str:
    """The file's SHA-256, after checking it against the prefix in an OpenMMLab name such as `x-a7cac5ff.pth`."""
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path} {'is no file' if path.exists() else 'does not exist'}", "pass --checkpoint FILE.pth"
        )
    digest = sha256_of(path)
    named = HASHED_NAME.search(path.name)
    if named and not digest.startswith(named[1]):
        raise CheckpointError(
            f"{path.name} should have a sha256 that begins with {named[1]}, and it begins with {digest[:8]}",
            "the download is damaged or the file is another one: fetch it again, or rename it if you changed it on purpose",
        )
    return digest


def check_checkpoint(path: Path) -> int:
    """The file's size, after everything that can be told of a checkpoint without torch; `CheckpointError` says what is wrong."""
    verify_name(path)
    try:
        return check_file(path)
    except Exception as error:  # pickletools raises whatever crooked bytes lead to
        raise _not_plain(path, error) from error


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint with today's key names; `CheckpointError` for anything that is not plain weights."""
    import torch

    size = check_checkpoint(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, ValueError, ... for bad files
        raise _not_plain(path, error) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(
            f"{path} holds no state dict", "pass a checkpoint saved by mmdet or by tools/train_shapes.py"
        )
    weights = {}
    for key, value in state.items():
        if not isinstance(value, torch.Tensor) or not isinstance(key, str):
            raise CheckpointError(
                f"{path} holds {type(value).__name__} under {key!r:.80}, not a tensor under a name",
                "pass a plain checkpoint",
            )
        if value.numel() * value.element_size() > size:
            raise CheckpointError(
                f"{path} has {key!r:.80} of shape {tuple(value.shape)!s:.80}, for which it has too few bytes",
                "it was not saved by training: pass a plain checkpoint",
            )
        weights[todays_key(key)] = value
    return weights


def _not_plain(path: Path, error: Exception) -> CheckpointError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"{path} cannot be read as plain weights ({first[:200]})",
        "it is truncated, not a checkpoint, or holds objects that would run code; nothing in it was run",
    )
