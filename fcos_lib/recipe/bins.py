"""Bins: pictures as the raw files that ais_bench feeds to an OM, written and read back.

One `<stem>.bin` per picture: float32[3, H, W] without a header, 12,796,800 bytes at 800 x 1333. The stem ends at the first
dot of the picture's name, as in the recipe's `fcos_pth_preprocess.py` and in ais_bench. Unlike the recipe's script, which
takes the first 5,000 names of the folder and loses its workers' errors, every annotated picture is written or named.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError, UsageError, refusal_as
from fcos_lib.files import write_whole
from fcos_lib.stream.dataset import Dataset, Picture, read_picture
from fcos_lib.stream.letterbox import letterbox
from fcos_lib.stream.progress import picture_bar

_FED = (".bin", ".npy")
"""What ais_bench takes for an input, in any case, when it is given a folder."""
MADE_FROM = ".made_from.json"
"""Beside the inputs: the dataset that they are of, and the contract's arithmetic."""


@dataclass(frozen=True, slots=True)
class WrittenBins:
    """What `write_bins` did."""

    folder: Path
    written: int
    kept: int
    bytes_each: int


def stem_of(name: str) -> str:
    """A file's name up to its first dot: what the recipe and ais_bench know a picture by."""
    return name.partition(".")[0]


def bin_bytes(contract: ModelContract) -> int:
    """Bytes of one picture's network input."""
    return math.prod(contract.input_shape(1)) * 4


def pictures_by_stem(dataset: Dataset) -> dict[str, Picture]:
    """The dataset's pictures by stem; `DatasetError` if two share one, since their files would be the same."""
    by_stem: dict[str, Picture] = {}
    for picture in dataset.pictures:
        stem = stem_of(picture.path.name)
        if not stem or stem in by_stem:
            other = f"{by_stem[stem].name} and " if stem else ""
            raise DatasetError(
                f"{other}{picture.name} would become the same file '{stem}.bin': names end at the first dot"
                if stem
                else f"{picture.name} has nothing before its first dot, so its file would have no name",
                "rename the pictures, in val2017/ and in the annotation file",
            )
        by_stem[stem] = picture
    return by_stem


def write_bins(
    dataset: Dataset, contract: ModelContract, folder: Path, *, jobs: int = 1, fresh: bool = False
) -> WrittenBins:
    """Write the network input of every picture into `folder`, `jobs` at a time, and check the result.

    A file of the right size that is not older than its picture is kept unless `fresh`, if all there were made from this dataset
    by the same arithmetic. `DatasetError` names every picture
    that is broken, after all others have been written; `UsageError` says why the folder cannot be used.
    """
    pictures, size = pictures_by_stem(dataset), bin_bytes(contract)
    paths = {folder / f"{stem}.bin": picture for stem, picture in pictures.items()}
    with refusal_as(
        UsageError,
        f"{folder} cannot be written",
        "check free space and permissions; pictures already written are kept for the next run",
    ):
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(folder, {path.name for path in paths})
        _remove_others(folder, paths, dataset, contract, fresh=fresh)
        todo = [(picture, path) for path, picture in paths.items() if not _is_complete(path, picture.path, size)]
        needed = sum(size for _, path in todo if not path.exists())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UsageError(
                f"{len(todo)} pictures need {needed:,} bytes, and {folder} has {free:,} free",
                "pass --output on a larger disk",
            )
        broken: list[str] = []
        with picture_bar("preprocess", len(todo)) as bar:
            for reason in _write_all(todo, contract, jobs):
                bar.update()
                if reason:
                    broken.append(reason)
    if broken:
        listed = "".join(f"\n    {reason}" for reason in broken)
        raise DatasetError(
            f"{len(broken)} of {len(paths)} pictures cannot be preprocessed:{listed}",
            "restore them and run again: pictures already written are kept",
        )
    _verify(folder, paths, size)
    return WrittenBins(folder, written=len(todo), kept=len(paths) - len(todo), bytes_each=size)


def write_bin(picture: Picture, path: Path, contract: ModelContract) -> str:
    """Write one picture's network input, whole or not at all; why the picture cannot be used, or an empty string."""
    tensor = np.empty(contract.input_shape(1)[1:], np.float32)
    try:
        letterbox(read_picture(picture), contract, tensor)
    except DatasetError as error:
        return error.found
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(tensor.data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return ""


def list_bins(folder: Path, contract: ModelContract) -> list[Path]:
    """The `.bin` files of a folder in ais_bench's order (numbers by value); `UsageError` unless each is one picture's input."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", "pass the folder that preprocess wrote")
    paths = sorted((path for path in folder.iterdir() if path.suffix == ".bin"), key=lambda path: _natural(path.name))
    if not paths:
        raise UsageError(f"{folder} holds no .bin files", "pass the folder that preprocess wrote")
    size = bin_bytes(contract)
    names: dict[str, str] = {}
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise UsageError(f"{path} is no regular file", "pass a folder of plain files, without links")
        if path.stat().st_size != size:
            raise UsageError(
                f"{path} has {path.stat().st_size:,} bytes, and one input of contract '{contract.name}' has {size:,}",
                "run preprocess again; ais_bench would cut the files elsewhere, or take several for one batch",
            )
        other = names.setdefault(stem_of(path.name), path.name)
        if other != path.name:
            raise UsageError(f"{other} and {path.name} would have the same results", "names end at the first dot")
    return paths


def load_bin(path: Path, out: NDArray[np.float32]) -> None:
    """Read one file into `out` float32[3, H, W]; `UsageError` if it is not exactly as long."""
    with path.open("rb") as file:
        read = file.readinto(out.data.cast("B"))
        if read != out.nbytes or file.read(1):
            raise UsageError(f"{path} changed its size while it was read", "let nothing else write into that folder")


def _write_all(todo: Sequence[tuple[Picture, Path]], contract: ModelContract, jobs: int) -> Iterator[str]:
    pictures, paths = [picture for picture, _ in todo], [path for _, path in todo]
    if jobs == 1 or len(todo) < 2:
        yield from map(write_bin, pictures, paths, repeat(contract))
        return
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        # spawn: a forked copy of a process that has threads of torch or onnxruntime may hang.
        with ProcessPoolExecutor(min(jobs, len(todo)), get_context("spawn"), _prepare_worker) as pool:
            try:
                yield from pool.map(write_bin, pictures, paths, repeat(contract), chunksize=4)
            except BrokenProcessPool as error:
                raise UsageError(
                    "a worker process died, perhaps for want of memory", "pass a smaller --jobs"
                ) from error
            finally:
                # A second Ctrl-C would leave the pool and its processes waiting for each other for ever.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGINT, interrupt)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)  # the processes are the parallelism


def _remove_others(
    folder: Path, paths: Iterable[Path], dataset: Dataset, contract: ModelContract, *, fresh: bool
) -> None:
    """Remove the files of these paths if they were made otherwise than they would be now, and note how they are made."""
    arithmetic = ("height", "width", "mean_bgr", "std_bgr", "channel_order")
    facts = {"dataset": str(dataset.root.resolve())} | {name: getattr(contract, name) for name in arithmetic}
    note, now = folder / MADE_FROM, json.dumps(facts).encode()
    if fresh or not note.is_file() or note.read_bytes() != now:
        for path in paths:
            path.unlink(missing_ok=True)
        write_whole(note, now)


def _is_complete(path: Path, picture: Path, size: int) -> bool:
    """True if the file is whole and was written after the picture came to its place, however old a copy says that it is."""
    try:
        written, source = path.lstat(), picture.stat()
    except OSError:
        return False
    return path.is_file() and written.st_size == size and written.st_mtime_ns >= source.st_ctime_ns


def _refuse_foreign(folder: Path, expected: set[str]) -> None:
    foreign = sorted(
        path.name for path in folder.iterdir() if path.suffix.lower() in _FED and path.name not in expected
    )
    if foreign:
        raise UsageError(
            f"{folder} holds {len(foreign)} input files that belong to no picture of the dataset "
            f"({', '.join(foreign[:3])}{', ...' if len(foreign) > 3 else ''})",
            "pass an empty --output: ais_bench feeds every .bin and .npy that it finds",
        )


def _verify(folder: Path, paths: dict[Path, Picture], size: int) -> None:
    _refuse_foreign(folder, {path.name for path in paths})
    wrong = [path.name for path in paths if not path.is_file() or path.stat().st_size != size]
    if wrong:
        raise UsageError(
            f"{len(wrong)} of {len(paths)} files in {folder} do not have {size:,} bytes (first: {wrong[0]})",
            "check the disk, and that nothing else writes into that folder",
        )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that compares runs of digits by value, as ais_bench sorts its inputs."""
    parts = re.split("([0-9]+)", name)  # every second part is a number
    return [(int(part), "") if position % 2 else (0, part.lower()) for position, part in enumerate(parts)]
