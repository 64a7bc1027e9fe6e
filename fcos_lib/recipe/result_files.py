"""Result files of one picture, labels or dets, in ais_bench's three formats, told apart by size.

Nothing is believed: sizes are checked before anything is read, no object is unpickled, and what a header claims must be
what the file holds.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import UsageError, refusal_as
from fcos_lib.files import open_plain

FORMATS = ("bin", "npy", "txt")
"""What `--outfmt` of ais_bench writes, as the files' suffixes."""

_CUT_SHORT = "run it again: the run or a copy was cut short, or the OM is of another contract"
_NPY_HEADER_LIMIT = 4096
_TEXT_NUMBER_LIMIT = 32
"""Characters per number in a text file: numpy's longest has 25 and a blank."""


def read_result(path: Path, contract: ModelContract) -> NDArray[Any]:
    """A file's content: labels int64[rows] or int32[rows], or dets float32[rows, 5]; `UsageError` says what else it is.

    Text has no dtype: its labels are int64. Its dets have ais_bench's six decimals.
    """
    rows = contract.max_detections
    if path.suffix == ".npy":
        return _from_npy(path, rows)
    if path.suffix == ".txt":
        return _from_text(path, rows)
    return _from_bin(path, rows)


def _from_bin(path: Path, rows: int) -> NDArray[Any]:
    data = _bounded(path, rows * 20)
    kinds = {rows * 8: "<i8", rows * 4: "<i4", rows * 20: "<f4"}
    if len(data) not in kinds:
        size = f"{path.stat().st_size:,}"
        raise UsageError(
            f"{path} has {size} bytes; labels have {rows * 8} (int64) or {rows * 4} (int32) and dets {rows * 20}",
            _CUT_SHORT,
        )
    array = np.frombuffer(data, kinds[len(data)])
    return array.reshape(rows, 5) if array.dtype.kind == "f" else array


def _from_npy(path: Path, rows: int) -> NDArray[Any]:
    data = io.BytesIO(_bounded(path, rows * 20 + _NPY_HEADER_LIMIT))
    try:
        version = np.lib.format.read_magic(data)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read_header(data, max_header_size=_NPY_HEADER_LIMIT)
    except Exception as error:  # numpy parses the header as Python: SyntaxError, tokenize's own, RecursionError, ...
        raise UsageError(f"{path} is no .npy file ({str(error)[:120]})", _CUT_SHORT) from error
    payload = data.read()
    plain = tuple(size for size in shape if size != 1)  # the batch axis is kept with length 1
    allowed = {(rows,): ("int64", "int32"), (rows, 5): ("float32",)}
    if dtype.name not in allowed.get(plain, ()) or len(payload) != math.prod(shape) * dtype.itemsize:
        raise UsageError(
            f"{path} holds {dtype}{list(shape)} in {len(payload)} bytes, neither labels int64[1, {rows}] nor "
            f"dets float32[1, {rows}, 5]",
            _CUT_SHORT,
        )
    return np.frombuffer(payload, dtype).reshape(plain, order="F" if fortran_order else "C").astype(dtype.name)


def _from_text(path: Path, rows: int) -> NDArray[Any]:
    limit = rows * 5 * _TEXT_NUMBER_LIMIT
    data = _bounded(path, limit)
    if len(data) > limit:
        raise UsageError(f"{path} has more than {limit:,} bytes, too many for {rows * 5} numbers", _CUT_SHORT)
    try:
        numbers = np.array([float(word) for word in data.decode("ascii").split()], np.float64)
    except ValueError as error:
        raise UsageError(f"{path} has something else than numbers in it ({str(error)[:120]})", _CUT_SHORT) from error
    if len(numbers) == rows * 5:
        with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
            return numbers.astype(np.float32).reshape(rows, 5)
    if len(numbers) == rows and (np.abs(numbers) < 2**53).all() and (numbers == np.floor(numbers)).all():
        return numbers.astype(np.int64)
    raise UsageError(
        f"{path} has {len(numbers)} numbers; labels have {rows} whole ones and dets {rows * 5}", _CUT_SHORT
    )


def _bounded(path: Path, limit: int) -> bytes:
    """The file's bytes, one more than `limit` at most, so that a larger one is seen to be too large."""
    with refusal_as(UsageError, f"{path} cannot be read", "restore the file"), open_plain(path) as file:
        return file.read(limit + 1)
