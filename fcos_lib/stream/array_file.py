"""Named arrays as the bytes of an .npz file, and reading them without trusting who wrote them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

OVERHEAD = 1 << 14
"""More bytes than zip's and numpy's headers of ten arrays take."""
Shape = tuple[int | str, ...]
"""Numbers, or names of lengths, which are the same wherever they appear."""


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a file with these arrays, stored, each with a CRC-32."""
    packed = io.BytesIO()
    np.savez(packed, **cast(dict[str, Any], arrays))
    return packed.getvalue()


def unpack_arrays(
    data: bytes, wanted: Mapping[str, tuple[str, Shape]], longest: Mapping[str, int], optional: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """The arrays by name, of the wanted types and shapes; `ValueError` for bytes that `pack_arrays` did not make of such.

    `longest` bounds each named length. Those that are `optional` may be missing, all together.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            there = archive.namelist()
            missing = all(f"{name}.npy" not in there for name in optional)
            names = [name for name in wanted if not (missing and name in optional)]
            lengths: dict[str, int] = {}
            return {name: _array(archive, name, *wanted[name], lengths, longest) for name in names}
    except Exception as error:  # zipfile, struct and numpy raise whatever they stumble over
        raise ValueError(f"{type(error).__name__}: {str(error)[:200]}") from error


def _array(
    archive: zipfile.ZipFile, name: str, dtype: str, shape: Shape, lengths: dict[str, int], longest: Mapping[str, int]
) -> NDArray[Any]:
    """One array; its named lengths are added to `lengths`."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:  # stored members are never larger than the file
        raise ValueError(f"'{name}' is compressed")
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"'{name}' has another version of numpy's format")
        its_shape, fortran, its_dtype = np.lib.format.read_array_header_1_0(file)
        for length, number in zip(shape, its_shape, strict=False):
            if isinstance(length, str) and 0 <= number <= longest[length]:
                lengths.setdefault(length, number)
        expected = tuple(lengths.get(length, -1) if isinstance(length, str) else length for length in shape)
        if fortran or its_dtype != np.dtype(dtype) or its_shape != expected:
            raise ValueError(f"'{name}' is {its_dtype}{list(its_shape)}, expected {dtype}{list(shape)}")
        array: NDArray[Any] = np.frombuffer(file.read(), dtype).reshape(its_shape).copy()
        return array
