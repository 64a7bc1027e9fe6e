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
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from fcos_lib.errors import StoreError, UsageError
from fcos_lib.files import read_plain, whole_number, write_whole

FORMAT = 1
KEY = "fcos"
ACCEPTED = "accepted.json"
"""The one file in a storage folder that is no run."""
TIMED = ("pure", "end to end", "stream")
"""Pure inference as in the recipe; one picture or batch from JPEG to boxes; a whole stream with decoding ahead."""
FILE_LIMIT = 64 << 20
_FASTEST = 1e7  # images/s; more is a unit gone wrong, and keeps ratios finite

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Series:
    """What was timed: contract, OM recipe, kind of device, batch size and which part of the way."""

    contract: str
    timed: str
    """One of `TIMED`."""
    batch_size: int
    soc_version: str
    stand_in: bool
    """True on the emulator. Part of the identity, so that it never meets hardware."""
    input: str
    """`float32 NCHW` or `uint8 NHWC (AIPP)`."""
    precision_mode: str
    op_select_implmode: str
    """Empty for atc's default."""
    dynamic_batch: str
    """The profiles of an OM that has several, such as `1,4,8`; otherwise empty."""
    atc_options: str
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
    def recipe_label(self) -> str:
        """`coco_r50 on Ascend310P3, force_fp16, float32 NCHW`; the emulator's begins with STAND-IN."""
        parts = [f"{self.contract} on {self.soc_version}", self.precision_mode, self.input, self.op_select_implmode]
        parts += [f"profiles {self.dynamic_batch}" * bool(self.dynamic_batch), self.atc_options]
        return "STAND-IN " * self.stand_in + ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """On what it was timed. Rates are compared only where all of it is equal; empty means that nobody could tell."""

    chip: str
    """Which one of its kind: serial number or PCIe address. Chips of one kind may differ by 10 %."""
    host: str
    """A name or hash that stays with the machine; a container's random hostname does not."""
    driver: str
    firmware: str
    cann: str
    """That ran the OM."""
    atc: str
    """That compiled the OM."""
    pictures: str
    """SHA-256 over the pictures in their order; what NMS has to do depends on them."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One series as one run measured it."""

    series: Series
    fingerprint: Fingerprint
    images_per_second: float
    om_sha256: str

    def as_extra_info(self, run_id: str) -> dict[str, Any]:
        """What the benchmark's `extra_info["fcos"]` must be."""
        return {"format": FORMAT, "run": run_id, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Run:
    """What one session of the suite measured."""

    run_id: str
    name: str
    """Its file's name without `.json`."""
    at: datetime
    commit: str
    """Abbreviated; `+` if there were uncommitted changes; empty if unknown."""
    rates: tuple[Rate, ...]

    def rate(self, series: Series) -> Rate | None:
        """What it measured of a series."""
        return next((rate for rate in self.rates if rate.series == series), None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `run_of_dict` reads it."""
        return {**asdict(self), "at": self.at.isoformat()}


def new_run_id() -> str:
    """An id that no other run has: time, process and chance."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{secrets.token_hex(4)}"


def run_of_dict(data: object, where: str) -> Run:
    """A run from `Run.as_dict`'s form; `UsageError` that begins with `where` if anything is missing, foreign or impossible."""
    content = _keys(data, {field.name for field in fields(Run)}, where)
    rates = content["rates"]
    if not isinstance(rates, list) or not rates:
        raise _broken(where, "it holds no rates")
    return Run(
        run_id=_run_id(content["run_id"], where),
        name=text_line(content["name"], "name", where),
        at=moment(content["at"], where),
        commit=text_line(content["commit"], "commit", where),
        rates=_once([_rate(rate, where) for rate in rates], where),
    )


def read_run(path: Path) -> Run | None:
    """The run in a file of pytest-benchmark's; None if none of its benchmarks is ours. `UsageError` if it is broken."""
    document = read_json(path, "pytest-benchmark's files are JSON; if another run is writing it now, try again")
    return run_of(document, str(path), path.name.removesuffix(".json"))


def run_of(document: object, where: str, name: str = "") -> Run | None:
    """The run in a document of pytest-benchmark's; see `read_run`."""
    benchmarks = document.get("benchmarks") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(benchmarks, list):
        raise _broken(where, "it is no file of pytest-benchmark's (no list 'benchmarks')")
    rates, run_ids = [], set()
    for benchmark in benchmarks:
        extra = benchmark.get("extra_info") if isinstance(benchmark, dict) else None
        if not isinstance(extra, dict) or KEY not in extra:
            continue
        for ours in extra[KEY] if isinstance(extra[KEY], list) else [extra[KEY]]:
            if not isinstance(ours, dict) or ours.get("format") != FORMAT:
                found = ours.get("format") if isinstance(ours, dict) else ours
                raise _broken(where, f"extra_info['{KEY}'] has the format {found!r:.40}, this release reads {FORMAT}")
            run_ids.add(_run_id(ours.get("run"), where))
            rates.append(_rate({key: ours[key] for key in ours if key not in ("format", "run")}, where))
    if not rates:
        return None
    if len(run_ids) > 1:
        raise _broken(where, f"its benchmarks are of different runs ({', '.join(sorted(run_ids))})")
    return Run(
        run_ids.pop(),
        text_line(name, "name", where),
        moment(document.get("datetime"), where),
        _commit(document),
        _once(rates, where),
    )


def read_runs(folder: Path) -> list[Run]:
    """All runs below a `--benchmark-storage`, the oldest first; a run that was saved twice counts once. Empty without a folder."""
    found: dict[str, Run] = {}
    for path in sorted(_files(folder, "*.json")):
        run = read_run(path) if path.name != ACCEPTED else None
        if run is None:
            continue
        earlier = found.setdefault(run.run_id, run)
        if set(earlier.rates) != set(run.rates):
            raise _broken(str(path), f"it has other rates for the run {run.run_id} than {earlier.name}.json")
    return sorted(found.values(), key=lambda run: (run.at, run.run_id))


def save_run(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write a document of pytest-benchmark's into `folder`, whole and under a name that no other process takes.

    pytest-benchmark itself takes the highest number there plus one, looks whether that name exists, and then writes into
    it: two runs at once with one `--benchmark-save=NAME` (or one commit and second) overwrite each other or stop, and a
    reader may see half a file. The name here keeps the number, by which `pytest-benchmark list` and `compare` find it.
    """
    if run_of(document, "the document") is None:
        raise UsageError(f"no benchmark of the run has an extra_info['{KEY}']", "save runs that measured throughput")
    text = json.dumps(document, indent=1, default=lambda value: f"UNSERIALIZABLE[{value!r}]") + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name[:4]) for path in _files(folder, "[0-9][0-9][0-9][0-9]_*.json")]
        path = folder / f"{min(max(taken, default=0) + 1, 9999):04}_{new_run_id()}.json"
        write_whole(path, text.encode())
    except OSError as error:
        raise StoreError(
            f"the run cannot be saved in {folder} ({error.strerror or error})", "check free space and permissions"
        ) from error
    return path


def read_json(path: Path, advice: str) -> object:
    """A JSON file of bounded size; `UsageError` with its path if it is missing, too large or broken."""
    try:
        if not path.is_file() or path.stat().st_size > FILE_LIMIT:
            raise UsageError(f"{path} is not a file of at most {FILE_LIMIT >> 20} MiB", advice)
        return json.loads(read_plain(path, FILE_LIMIT).decode(), parse_int=whole_number)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON ({str(error)[:120]})", advice) from error


def _files(folder: Path, pattern: str) -> list[Path]:
    """Where pytest-benchmark looks: in the folder and in those of each Python below it."""
    return [*folder.glob(pattern), *folder.glob(f"*/{pattern}")]


def _rate(data: object, where: str) -> Rate:
    content = _keys(data, {field.name for field in fields(Rate)}, where)
    series = _record(Series, content["series"], where)
    if series.timed not in TIMED or series.batch_size < 1 or not series.contract or not series.soc_version:
        raise _broken(where, f"its series is impossible: {asdict(series)}")
    fingerprint = _record(Fingerprint, content["fingerprint"], where)
    if not series.stand_in and "STAND-IN" in fingerprint.cann + fingerprint.atc:
        raise _broken(where, "it says hardware, but its CANN is the emulator's")
    value = content["images_per_second"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _FASTEST:  # NaN is not, either
        raise _broken(where, f"images_per_second is {value!r:.40}")
    return Rate(series, fingerprint, float(value), text_line(content["om_sha256"], "om_sha256", where))


def _record(kind: type[T], data: object, where: str) -> T:
    """A flat dataclass of text, whole numbers and yes or no; `slots` and `from __future__` leave their names as types."""
    names = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]
    content = _keys(data, set(names), f"{where}: {kind.__name__.lower()}")
    for name, expected in names.items():
        if expected == "str":
            text_line(content[name], name, where)
        elif type(content[name]).__name__ != expected:
            raise _broken(where, f"{name} is {content[name]!r:.40}, not of type {expected}")
    return kind(**content)


def _keys(data: object, expected: Iterable[str], where: str) -> dict[str, Any]:
    if not isinstance(data, dict) or set(data) != set(expected):
        found = ", ".join(sorted(map(str, data)))[:200] if isinstance(data, dict) else f"{data!r:.40}"
        raise _broken(where, f"expected are {', '.join(sorted(expected))}; found: {found}")
    return data


def text_line(value: object, name: str, where: str) -> str:
    """A line of text that can be printed anywhere, or `UsageError`."""
    if not isinstance(value, str) or len(value) > 1000 or not value.isprintable():
        raise _broken(where, f"{name} is {value!r:.40}, not a line of text")
    return value


def _run_id(value: object, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.-]{8,100}", value, re.ASCII):
        raise _broken(where, f"{value!r:.40} is no id of a run")
    return value


def moment(value: object, where: str) -> datetime:
    """A time in UTC from ISO 8601, or `UsageError`."""
    try:
        found = datetime.fromisoformat(str(value))
        return found.astimezone(timezone.utc) if found.tzinfo else found.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError) as error:
        raise _broken(where, f"its time is {value!r:.40}") from error


def _commit(document: Mapping[str, Any]) -> str:
    info = document.get("commit_info")
    commit = info.get("id") if isinstance(info, dict) else None
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        return ""
    return commit[:10] + "+" * (info.get("dirty") is True if isinstance(info, dict) else False)


def _once(rates: list[Rate], where: str) -> tuple[Rate, ...]:
    seen: set[Series] = set()
    for rate in rates:
        if rate.series in seen:
            raise _broken(where, f"it has two rates for {rate.series.label}, {rate.series.recipe_label}")
        seen.add(rate.series)
    return tuple(sorted(rates, key=lambda rate: (rate.series.recipe_label, rate.series.timed, rate.series.batch_size)))


def _broken(where: str, why: str) -> UsageError:
    return UsageError(f"{where}: {why}", "remove the file, or restore it; it is not guessed at")
