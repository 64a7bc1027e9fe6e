"""Result folders of ais_bench and its predecessor: whose they are, and what the model found in each picture.

ais_bench (and our `infer`) number a picture's files from 0, the retired benchmark tool from 1; either may have labels or
dets first, as `--out_nodes` said; several devices have a folder each. The recipe's own script guesses the numbers from an
option and finds pictures by the end of their names. Here the files say what they are, and what does not fit is refused.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError, UsageError
from fcos_lib.recipe.ais_bench import FORMATS, read_result
from fcos_lib.recipe.bins import pictures_by_stem
from fcos_lib.stream.dataset import Dataset
from fcos_lib.stream.letterbox import geometry, in_picture
from fcos_lib.stream.sessions import Detections

CONVENTIONS = {(0, 1): "ais_bench naming (_0, _1)", (1, 2): "the retired benchmark tool's naming (_1, _2)"}
"""What the output numbers of a picture's files say about who wrote them."""

_FILE = re.compile(rf"(?P<stem>.+)_(?P<number>\d{{1,3}})\.(?P<format>{'|'.join(FORMATS)})", re.ASCII)
_DEVICE = re.compile(r"(?:dumpOutput_)?device\d{1,3}(?:_\d{1,3})?", re.ASCII)
_BENCHMARK_REPORT = "perf_vision_"  # text files that the old tool leaves beside its folders, numbered as results are
_ONE_RUN = "let one run write into an empty folder and pass that"


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """A result folder as it was found to be, and what is in it."""

    path: Path
    convention: str
    """One of `CONVENTIONS`."""
    labels_first: bool
    labels_dtype: str
    """`int64` or `int32`."""
    format: str
    """One of `FORMATS`."""
    devices: tuple[str, ...]
    """Folders of a run on several devices, empty for one device."""
    detections: Mapping[int, Detections]
    """By picture id, every picture of the dataset once, boxes in picture pixels."""

    def sentence(self) -> str:
        """What was found, such as `240 pictures, ais_bench naming (_0, _1), labels first as int64, .bin`."""
        parts = [
            f"{len(self.detections)} pictures",
            self.convention,
            f"{'labels' if self.labels_first else 'dets'} first",
            f"labels {self.labels_dtype}",
            f".{self.format}",
        ]
        return ", ".join([*parts, f"from {', '.join(self.devices)}"] if self.devices else parts)


@dataclass(slots=True)
class _Scan:
    """The files of a folder by stem and number, before anything is read."""

    files: dict[str, dict[int, Path]] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def read_results(folder: Path, dataset: Dataset, contract: ModelContract) -> ResultFolder:
    """Read the results of every picture of `dataset` from `folder`.

    `UsageError` for a folder that is none of the known kinds, mixes two of them, or has a file that is damaged or not the
    contract's; `DatasetError` if pictures are missing or unknown. Pictures are told by their whole stem.
    """
    scan = _scan(folder)
    numbers = _one_numbering(folder, scan)
    suffix = _one_format(folder, scan)
    pictures = pictures_by_stem(dataset)
    _check_pictures(folder, scan, set(pictures))
    kinds: dict[tuple[bool, str], str] = {}
    detections = {}
    for stem, picture in pictures.items():
        first, second = (scan.files[stem][number] for number in numbers)
        first_array, second_array = read_result(first, contract), read_result(second, contract)
        if first_array.ndim == second_array.ndim:
            what = "labels" if first_array.ndim == 1 else "dets"
            raise UsageError(f"{first} and {second.name} both have the size of {what}", _ONE_RUN)
        labels, dets = (first_array, second_array) if first_array.ndim == 1 else (second_array, first_array)
        kinds.setdefault((first_array.ndim == 1, labels.dtype.name), first.name)
        _check_values(first if dets is first_array else second, labels, dets, contract)
        used = dets[:, 4] > 0
        in_network = Detections(dets[used, :4], dets[used, 4], labels[used].astype(np.int64))
        detections[picture.id] = in_picture(in_network, geometry(picture.width, picture.height, contract))
    if len(kinds) > 1:
        listed = " and ".join(
            f"{'labels' if labels_first else 'dets'} first with {dtype} labels (such as {name})"
            for (labels_first, dtype), name in kinds.items()
        )
        raise UsageError(f"{folder} mixes the results of two models: {listed}", _ONE_RUN)
    (labels_first, dtype), *_ = kinds
    return ResultFolder(
        folder, CONVENTIONS[numbers], labels_first, dtype, suffix, tuple(sorted(scan.devices)), detections
    )


def _scan(folder: Path) -> _Scan:
    """All result files of a folder and of its device folders; nothing is followed out of it."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", "pass the folder that infer or ais_bench wrote")
    scan = _Scan()
    _scan_one(folder, scan, "")
    beside = bool(scan.files)
    for name in sorted(name for name in scan.others if _DEVICE.fullmatch(name) and (folder / name).is_dir()):
        _scan_one(folder / name, scan, name)
    if not scan.files:
        here = ", ".join(sorted(scan.others)[:4]) or "nothing"
        raise UsageError(
            f"{folder} has no result files such as 000000000139_0.bin; it holds {here}",
            "pass the folder that infer or ais_bench wrote, not the network's inputs or the folder above",
        )
    if beside and scan.devices:
        raise UsageError(
            f"{folder} has results of its own and in {', '.join(scan.devices)}, which are different runs", _ONE_RUN
        )
    return scan


def _scan_one(folder: Path, scan: _Scan, device: str) -> None:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            named = _FILE.fullmatch(entry.name)
            if entry.is_symlink() and (named or _DEVICE.fullmatch(entry.name)):
                raise UsageError(f"{entry.path} is a link", "pass a folder of plain files, without links")
            if named is None or not entry.is_file() or entry.name.startswith(_BENCHMARK_REPORT):
                if not device:
                    scan.others.append(entry.name)
                continue
            if device and device not in scan.devices:
                scan.devices.append(device)
            files = scan.files.setdefault(named["stem"], {})
            earlier = files.setdefault(int(named["number"]), Path(entry.path))
            if earlier == Path(entry.path):
                continue
            if earlier.parent != folder:
                raise UsageError(
                    f"picture {named['stem']} has results in {earlier.parent.name} and in {device}",
                    "the devices ran the same pictures: pass the folder of one of them",
                )
            raise UsageError(f"{earlier} and {entry.name} are results of the same picture", _ONE_RUN)


def _one_numbering(folder: Path, scan: _Scan) -> tuple[int, int]:
    """The numbers that every picture's files have; `UsageError` lists the ways in which they differ."""
    count = Counter(tuple(sorted(files)) for files in scan.files.values())
    if len(count) == 1 and (numbers := next(iter(count))) in CONVENTIONS:
        return numbers[0], numbers[1]
    examples = {tuple(sorted(files)): stem for stem, files in reversed(scan.files.items())}
    ways = "; ".join(
        f"_{' and _'.join(map(str, numbers))} for {times} picture{'s' * (times > 1)} (such as {examples[numbers]})"
        for numbers, times in count.most_common()
    )
    raise UsageError(
        f"{folder} has result files {ways}; a picture has _0 and _1 (ais_bench) or _1 and _2 (the retired tool)",
        f"a file is missing or two tools wrote there: {_ONE_RUN}",
    )


def _one_format(folder: Path, scan: _Scan) -> str:
    examples = {path.suffix[1:]: path.name for files in scan.files.values() for path in files.values()}
    if len(examples) > 1:
        raise UsageError(f"{folder} mixes formats: {' and '.join(sorted(examples.values()))}", _ONE_RUN)
    return next(iter(examples))


def _check_pictures(folder: Path, scan: _Scan, expected: set[str]) -> None:
    missing, unknown = expected - scan.files.keys(), scan.files.keys() - expected
    problems = []
    if missing:
        problems.append(f"{len(missing)} of {len(expected)} pictures have no result ({_some(missing)})")
    if unknown:
        problems.append(f"{len(unknown)} results belong to no picture of the dataset ({_some(unknown)})")
    if not problems:
        return
    advice = "mAP is defined over every picture once: run the missing ones, or pass the --dataset that was run"
    if unknown == {"pure_infer_data"}:
        advice = "a pure inference run (ais_bench without --input) has seen no picture: run it with --input"
    raise DatasetError(f"in {folder}, {' and '.join(problems)}", advice)


def _check_values(
    path: Path, labels: NDArray[np.int64 | np.int32], dets: NDArray[np.float32], contract: ModelContract
) -> None:
    """`UsageError` for values that no output of the contract has; `path` is the file of the dets."""
    finite = np.isfinite(dets)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise UsageError(
            f"{path} has {int((~finite).sum())} NaN or infinite values, the first in row {row}: {dets[row, column]}",
            "a layer overflowed: compile with a higher --precision-mode",
        )
    scores = dets[:, 4]
    if (scores < 0).any() or (scores > 1).any():
        worst = float(scores[np.argmax(np.abs(scores - 0.5))])
        raise UsageError(f"{path} has a score of {worst:g}, so it is not dets", "check --out_nodes and the contract")
    used = labels[scores > 0]
    bad = used[(used < 0) | (used >= len(contract.classes))]
    if bad.size:
        raise UsageError(
            f"the labels beside {path} have {int(bad[0])}, and contract '{contract.name}' has {len(contract.classes)} classes",
            "pass the --dataset that the model was trained for, and check that labels are integers",
        )


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + ", ..." * (len(listed) > 3)
