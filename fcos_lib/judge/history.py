"""The history of throughput: reads and writes the rates of runs in pytest-benchmark's files.

pytest-benchmark knows a benchmark by its test's id and a machine by its Python. So a renamed benchmark has no past, a file
from another device is a warning, and a new Python begins an empty history. Here every benchmark of ours says itself what
it is, under `extra_info["fcos"]`, once or as a list:

    format             1
    run                the id of the run, the same in all its benchmarks and files (`new_run_id`)
    series             what was timed: the fields of `Series`
    fingerprint        on what: the fields of `Fingerprint`
    images_per_second  the rate
    om_sha256          the OM that ran: what may differ between runs that are compared

Names, test ids and file names mean nothing. Benchmarks without that key are other people's and are left alone; ours are
whole, finite and positive, or an error names the file.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, to_builtins
from msgspec.structs import replace

from fcos_lib.errors import StoreError, UsageError, refusal_as
from fcos_lib.files import write_whole
from fcos_lib.records import Form, Line, record_of

FORMAT = 1
KEY = "fcos"
ACCEPTED = "accepted.json"
"""The one file in a storage folder that is no run."""
FILE_LIMIT = 64 << 20
_ADVICE = "remove the file, or restore it; if another run is writing it now, try again"
_Name = Annotated[Line, Meta(min_length=1)]


class Series(Struct, frozen=True, forbid_unknown_fields=True):
    """What was timed: contract, OM recipe, kind of device, batch size and which part of the way."""

    contract: _Name
    timed: Literal["pure", "end to end", "stream"]
    """Pure inference as in the recipe; one picture or batch from JPEG to boxes; a whole stream with decoding ahead."""
    batch_size: Annotated[int, Meta(ge=1)]
    soc_version: _Name
    stand_in: bool
    """True on the emulator. Part of the identity, so that it never meets hardware."""
    input: Line
    """`float32 NCHW` or `uint8 NHWC (AIPP)`."""
    precision_mode: Line
    op_select_implmode: Line
    """Empty for atc's default."""
    dynamic_batch: Line
    """The profiles of an OM that has several, such as `1,4,8`; otherwise empty."""
    atc_options: Line
    """Further options given to atc, as one text; empty for none."""

    @property
    def recipe(self) -> Series:
        """All series of one way to build and deploy: batch size and `timed` left open."""
        return replace(self, timed="", batch_size=0)

    @property
    def label(self) -> str:
        """What tells it from others of its recipe: `batch8 pure`."""
        return f"batch{self.batch_size} {self.timed}"

    @property
    def order(self) -> tuple[str, str, int]:
        """Its place when series are read aloud: by recipe, part of the way and batch size."""
        return self.recipe_label, self.timed, self.batch_size

    @property
    def recipe_label(self) -> str:
        """`coco_r50 on Ascend310P3, force_fp16, float32 NCHW`; the emulator's begins with STAND-IN."""
        parts = [f"{self.contract} on {self.soc_version}", self.precision_mode, self.input, self.op_select_implmode]
        parts += [f"profiles {self.dynamic_batch}" * bool(self.dynamic_batch), self.atc_options]
        return "STAND-IN " * self.stand_in + ", ".join(part for part in parts if part)


class Fingerprint(Struct, frozen=True, forbid_unknown_fields=True):
    """On what it was timed. Rates are compared only where all of it is equal; empty or "unknown" means that nobody could tell."""

    chip: Line
    """Which one of its kind: serial number or PCIe address. Chips of one kind may differ by 10 %."""
    host: Line
    """A name or hash that stays with the machine; a container's random hostname does not."""
    driver: Line
    firmware: Line
    cann: Line
    """That ran the OM."""
    atc: Line
    """That compiled the OM."""
    pictures: Line
    """SHA-256 over the pictures in their order; what NMS has to do depends on them."""


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """One series as one run measured it."""

    series: Series
    fingerprint: Fingerprint
    images_per_second: Annotated[float, Meta(gt=0, lt=1e7)]  # more is a unit gone wrong, and keeps ratios finite
    om_sha256: Line

    def as_extra_info(self, run_id: str) -> dict[str, Any]:
        """What the benchmark's `extra_info["fcos"]` must be."""
        return {"format": FORMAT, "run": run_id, **to_builtins(self)}


RunId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{8,100}\Z")]


class _Recorded(Rate, frozen=True, forbid_unknown_fields=True):
    """A rate as a benchmark's `extra_info["fcos"]` has it."""

    format: Literal[1]
    run: RunId


class Run(Struct, frozen=True, forbid_unknown_fields=True):
    """What one session of the suite measured."""

    run_id: RunId
    name: Line
    """Its file's name without `.json`."""
    at: datetime
    commit: Line
    """Abbreviated; `+` if there were uncommitted changes; empty if unknown."""
    rates: Annotated[tuple[Rate, ...], Meta(min_length=1)]

    def rate(self, series: Series) -> Rate | None:
        """What it measured of a series."""
        return next((rate for rate in self.rates if rate.series == series), None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, as accepted.json has it."""
        return {**to_builtins(self), "at": self.at.isoformat()}

    def checked(self) -> Run:
        """The same with its time in UTC and its rates in reading order; `ValueError` if it contradicts itself."""
        seen: set[Series] = set()
        for series, fingerprint in ((rate.series, rate.fingerprint) for rate in self.rates):
            if not series.stand_in and "STAND-IN" in fingerprint.cann + fingerprint.atc:
                raise ValueError("it says hardware, but its CANN is the emulator's")
            if series in seen:
                raise ValueError(f"it has two rates for {series.label}, {series.recipe_label}")
            seen.add(series)
        return replace(self, at=in_utc(self.at), rates=tuple(sorted(self.rates, key=lambda rate: rate.series.order)))


class _File(Struct):
    """What counts of a document of pytest-benchmark's, which may hold other people's benchmarks."""

    benchmarks: list[Any]
    datetime: Any = None
    commit_info: Any = None


_FILE = Form(_File, "a file of pytest-benchmark's", _ADVICE, FILE_LIMIT)
_RECORDED = Form(_Recorded, "a rate of this suite", _ADVICE, FILE_LIMIT, version=("format", 1, FORMAT))


def new_run_id() -> str:
    """An id that no other run has: time, process and chance."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{secrets.token_hex(4)}"


def read_run(path: Path) -> Run | None:
    """The run in a file of pytest-benchmark's; None if none of its benchmarks is ours. `UsageError` if it is broken."""
    return run_of(_FILE.plain(path), str(path), path.name.removesuffix(".json"))


def run_of(document: object, where: str, name: str = "") -> Run | None:
    """The run in a document of pytest-benchmark's; see `read_run`."""
    file, recorded = _FILE.of(document, where), list[_Recorded]()
    for benchmark in file.benchmarks:
        extra = benchmark.get("extra_info") if isinstance(benchmark, dict) else None
        if isinstance(extra, dict) and KEY in extra:
            entries = extra[KEY] if isinstance(extra[KEY], list) else [extra[KEY]]
            recorded += [_RECORDED.of(entry, f"{where}, extra_info['{KEY}']") for entry in entries]
    if not recorded:
        return None
    run_ids = sorted({entry.run for entry in recorded})
    rates = [Rate(entry.series, entry.fingerprint, entry.images_per_second, entry.om_sha256) for entry in recorded]
    run = {"run_id": run_ids[0], "name": name, "at": file.datetime, "commit": _commit(file.commit_info), "rates": rates}
    try:
        if len(run_ids) > 1:
            raise ValueError(f"its benchmarks are of different runs ({', '.join(run_ids)})")
        return record_of(run, Run).checked()
    except ValueError as error:
        raise UsageError(f"{where}: {error}", _ADVICE) from error


def read_runs(folder: Path) -> list[Run]:
    """All runs below a `--benchmark-storage`, the oldest first; a run that was saved twice counts once. Empty without a folder."""
    runs: dict[str, Run] = {}
    for path in sorted(path for path in _files(folder, "*.json") if path.name != ACCEPTED):
        run = read_run(path)
        if run and set((earlier := runs.setdefault(run.run_id, run)).rates) != set(run.rates):
            raise UsageError(f"{path}: it has other rates for the run {run.run_id} than {earlier.name}.json", _ADVICE)
    return sorted(runs.values(), key=lambda run: (run.at, run.run_id))


def save_run(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write a document of pytest-benchmark's into `folder`, whole and under a name that no other process takes.

    pytest-benchmark's own way, the highest number plus one and then writing into it, lets two runs at once overwrite each
    other. The name here keeps the number, by which `pytest-benchmark list` and `compare` find it.
    """
    text = json.dumps(document, indent=1, default=lambda value: f"UNSERIALIZABLE[{value!r}]") + "\n"
    if run_of(_FILE.parse(text.encode(), "the document"), "the document") is None:
        raise UsageError(f"no benchmark of the run has an extra_info['{KEY}']", "save runs that measured throughput")
    with refusal_as(StoreError, f"the run cannot be saved in {folder}", "check free space and permissions"):
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name[:4]) for path in _files(folder, "[0-9][0-9][0-9][0-9]_*.json")]
        path = folder / f"{min(max(taken, default=0) + 1, 9999):04}_{new_run_id()}.json"
        write_whole(path, text.encode())
    return path


def _files(folder: Path, pattern: str) -> list[Path]:
    """Where pytest-benchmark looks: in the folder and in those of each Python below it."""
    return [*folder.glob(pattern), *folder.glob(f"*/{pattern}")]


def in_utc(at: datetime) -> datetime:
    """A time in UTC, which one without a zone is taken to be in; `ValueError` for one that no calendar has there."""
    try:
        return at.astimezone(timezone.utc) if at.tzinfo else at.replace(tzinfo=timezone.utc)
    except OverflowError as error:
        raise ValueError(f"there is no {at} in UTC") from error


def _commit(info: object) -> str:
    commit = info.get("id") if isinstance(info, dict) else None
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return ""
    return commit[:10] + "+" * (isinstance(info, dict) and info.get("dirty") is True)
