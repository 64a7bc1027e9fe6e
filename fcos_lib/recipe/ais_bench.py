"""What ais_bench does and writes: inference over bins, the figures that it reports, and result files of one picture, read back.

Result files are in ais_bench's three formats, told apart by size. Of them nothing is believed: sizes are checked before anything
is read, no object is unpickled, and what a header claims must be what the file holds.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import SessionError, UsageError, refusal_as
from fcos_lib.files import open_plain, write_whole
from fcos_lib.measure.throughput.rates import images_per_second
from fcos_lib.recipe.bins import load_bin, stem_of
from fcos_lib.stream.progress import picture_bar
from fcos_lib.stream.sessions import Outputs, Session

STAND_IN_LINE = "STAND-IN: measured on the emulator; says nothing about hardware"
_RULE = "-" * 54
FORMATS = ("bin", "npy", "txt")
"""What `--outfmt` of ais_bench writes, as the files' suffixes."""

_CUT_SHORT = "run it again: the run or a copy was cut short, or the OM is of another contract"
_NPY_HEADER_LIMIT = 4096
_TEXT_NUMBER_LIMIT = 32
"""Characters per number in a text file: numpy's longest has 25 and a blank."""


def time_summary(milliseconds: Sequence[float]) -> dict[str, float | int | None]:
    """ais_bench's six figures of a list of times; None where there are no times, with a count of 0."""
    if not milliseconds:
        return dict.fromkeys(("min", "max", "mean", "median", "percentile(99%)")) | {"count": 0}
    times = np.asarray(milliseconds, np.float64)
    return {
        "min": float(times.min()),
        "max": float(times.max()),
        "mean": float(times.mean()),
        "median": float(np.median(times)),
        "percentile(99%)": float(np.percentile(times, 99)),
        "count": len(times),
    }


def performance_summary(batch: int, compute_ms: Sequence[float]) -> dict[str, Any]:
    """The figures in ais_bench's `_summary.json`. Copies to and from the device are not measured here: count 0."""
    return {
        "NPU_compute_time": time_summary(compute_ms),
        "H2D_latency": time_summary(()),
        "D2H_latency": time_summary(()),
        "npu_compute_time_list": list(compute_ms),
        "throughput": images_per_second(batch, compute_ms).value,
    }


def performance_lines(batch: int, compute_ms: Sequence[float], stand_in: bool) -> list[str]:
    """The performance summary as ais_bench prints it; the lines with numbers say STAND-IN if they are the emulator's."""
    figures = time_summary(compute_ms)
    label = "STAND-IN " if stand_in else ""
    shown = ", ".join(f"{name} = {value}" for name, value in figures.items() if name != "count")
    throughput = images_per_second(batch, compute_ms).value
    lines = [
        f"[INFO] {'Performance Summary':-^54}",
        f"[INFO] {label}NPU_compute_time (ms): {shown}",
        f"[INFO] {label}throughput 1000*batchsize.mean({batch})/NPU_compute_time.mean({figures['mean']}): {throughput}",
        f"[INFO] {_RULE}",
    ]
    return [*lines, f"[INFO] {STAND_IN_LINE}"] if stand_in else lines


def infer_bins(
    session: Session, bins: Sequence[Path], contract: ModelContract, batch: int, folder: Path
) -> dict[str, dict[str, list[str]]]:
    """Run every file in order and write its two results; ais_bench's `filesinfo`: input and output files by number.

    The last batch is filled up with its first file, as ais_bench does. `SessionError` names the files of a batch whose
    outputs break the contract.
    """
    folder.mkdir(parents=True, exist_ok=True)
    filesinfo: dict[str, dict[str, list[str]]] = {}
    with picture_bar("infer", len(bins)) as progress:
        for paths, outputs in _batches(session, bins, contract, batch):
            for slot, path in enumerate(paths):
                written = [folder / f"{stem_of(path.name)}_{index}.bin" for index in range(2)]
                written[0].write_bytes(outputs.labels[slot].tobytes())
                written[1].write_bytes(outputs.dets[slot].tobytes())
                filesinfo[str(len(filesinfo))] = {"infiles": [str(path)], "outfiles": [str(file) for file in written]}
            progress.update(len(paths))
    return filesinfo


def _batches(
    session: Session, bins: Sequence[Path], contract: ModelContract, batch: int
) -> Iterator[tuple[Sequence[Path], Outputs]]:
    tensor = np.empty(contract.input_shape(batch), np.float32)
    for start in range(0, len(bins), batch):
        paths = bins[start : start + batch]
        for slot, path in enumerate(paths):
            load_bin(path, tensor[slot])
        tensor[len(paths) :] = tensor[0]
        try:
            outputs = session.run(tensor)
        except SessionError as error:
            last = f" to {paths[-1].name}" if len(paths) > 1 else ""
            raise SessionError(f"{error.found} (batch of {paths[0].name}{last})", error.advice) from error
        yield paths, outputs


def summary_path(folder: Path) -> Path:
    """Where ais_bench puts the summary of a result folder: beside it."""
    return folder.with_name(f"{folder.name}_summary.json")


def write_summary(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write the summary of a result folder, whole or not at all; returns its path."""
    path = summary_path(folder)
    write_whole(path, json.dumps(content, allow_nan=False).encode() + b"\n")
    return path


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
