"""Limits: reads `limits.toml`, where every bound has a unit, a direction and a source, and finds that of a gate."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, structs

from fcos_lib.errors import UsageError
from fcos_lib.judge.gate import AT_LEAST, Gate, Scope
from fcos_lib.judge.gates import GATES
from fcos_lib.records import record_of, says

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).parent.parent / "limits.toml"


class PictureSet(Struct, frozen=True, forbid_unknown_fields=True):
    """The pictures that a limit was published or measured for."""

    name: str
    count: int
    first: Annotated[int, says("The lowest picture id.")]
    last: Annotated[int, says("The highest.")]
    ids_sha256: Annotated[str, says("Of all ids in decimal, each with a line feed behind it; empty: not known, not asked for.")] = ""  # fmt: skip

    def is_of(self, described: Mapping[str, Any]) -> bool:
        """True if these are the pictures that `dataset.picture_set` described."""
        same = all(described.get(key) == getattr(self, key) for key in ("count", "first", "last"))
        return same and self.ids_sha256 in ("", described.get("ids_sha256"))


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """A bound: what is allowed, in which direction, and who says so."""

    name: Annotated[str, says("Its dotted name in limits.toml.")]
    bound: float
    at_least: Annotated[bool, says("True: the measurement must be at least the bound. False: at most.")]
    unit: str
    source: Annotated[str, says("Where it was published, or what it was derived from.")]
    command: Annotated[str, says("What measured it; empty for published bounds.")] = ""
    n: Annotated[int, says("How many samples were measured.")] = 0
    spread: Annotated[str, says("How far the samples, or repeated runs, lay apart.")] = ""
    date: Annotated[str, says("When it was measured, YYYY-MM-DD.")] = ""
    derived: Annotated[bool, says("True if it follows from the run's own baseline or options: no limits file has it.")] = False  # fmt: skip
    pictures: Annotated[PictureSet | None, says("The pictures that it is for; null: any.")] = None
    published: Annotated[float | None, says("The published figure that the bound was derived from; null: none.")] = None

    def holds(self, value: float) -> bool:
        """True if the value is within the bound. The bound itself is allowed, NaN never is."""
        return value >= self.bound if self.at_least else value <= self.bound

    def foreign(self, details: Mapping[str, Any]) -> str:
        """Why it is no limit for what was measured, in a sentence, from the details of a measurement; empty if it is one.

        Details that do not say which pictures were measured do not show that it is.
        """
        described = details.get("data_set")
        if self.pictures is None or (isinstance(described, Mapping) and self.pictures.is_of(described)):
            return ""
        limit = f"{self.bound:g} is a limit for {self.pictures.name}"
        if not isinstance(described, Mapping) or not isinstance(count := described.get("count"), int):
            return f"{limit}, and the measurement does not say which pictures it is about"
        if count == self.pictures.count:
            return f"{limit}; this folder holds {count:,} other pictures"
        return f"{limit}; this folder holds {count:,} picture{'s' if count != 1 else ''}"

    def sentence(self) -> str:
        """`must be at least 0.359 AP`"""
        return f"must be at {'least' if self.at_least else 'most'} {self.bound:g} {self.unit}"

    def certificate(self) -> list[str]:
        """Where the bound comes from, a line each: the source, and for a measured one how it was measured."""
        if not self.command:
            return [self.source]
        return [self.source, f"measured {self.date}, n = {self.n}, spread {self.spread}: {self.command}"]


@cache
def all_limits(path: Path = FILE) -> dict[str, Limit]:
    """Every limit of the file by its dotted name, e.g. `accuracy.coco_r50.mAP`.

    `UsageError` for a file that is no limits file, and for a table that is neither a limit nor a group of them.
    """
    advice = f"start from a copy of {FILE}"
    if not path.is_file():
        raise UsageError(f"there is no limits file at {path}", f"copy {FILE} and change the copy")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return {limit.name: limit for limit in _limits_in("", document)}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a limits file ({error})", advice) from error


def _limits_in(name: str, table: Mapping[str, Any]) -> list[Limit]:
    """The limits of a table and of those in it; `ValueError` says what is wrong with one."""
    if "bound" in table:
        return [_limit(name, table)]
    limits: list[Limit] = []
    for key, value in table.items():
        inner = f"{name}.{key}" if name else key
        if not isinstance(value, dict):
            raise ValueError(f"{inner} belongs to no limit: [{name}] has no bound")
        limits += _limits_in(inner, value)
    if name and not limits:
        raise ValueError(f"[{name}] has no bound")
    return limits


_Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]
_Text = Annotated[str, Meta(min_length=1)]


class _Measured(Struct, frozen=True, forbid_unknown_fields=True):
    """How a bound was measured."""

    command: str = ""
    n: int = 0
    spread: str = ""
    date: str = ""


class _Table(Struct, forbid_unknown_fields=True):
    """A limit as the file has it."""

    bound: _Finite
    direction: Literal["at least", "at most"]
    unit: _Text
    source: _Text
    measured: _Measured = _Measured()
    pictures: PictureSet | None = None
    published: _Finite | None = None


def _limit(name: str, table: Mapping[str, Any]) -> Limit:
    try:
        read = record_of(table, _Table)
    except ValueError as error:
        raise ValueError(f"[{name}] is no limit: {error}") from error
    measured = structs.asdict(read.measured)
    at_least = read.direction == AT_LEAST
    return Limit(name, read.bound, at_least, read.unit, read.source, **measured, pictures=read.pictures, published=read.published)  # fmt: skip


def find_limit(*names: str) -> Limit | None:
    """The limit with this dotted name, or None if nobody set one."""
    return all_limits().get(".".join(names))


def needed_limit(name: str, limits: Mapping[str, Limit] | None = None) -> Limit:
    """The limit with this dotted name; `UsageError` if nobody set one."""
    limit = (all_limits() if limits is None else limits).get(name)
    if limit is None:
        raise UsageError(f"limits.toml has no [{name}]", "start from a copy of the original")
    return limit


def limit_of(gate: Gate, scope: Scope, limits: Mapping[str, Limit] | None = None) -> Limit | None:
    """The limit of a gate in this scope, or None if nobody set one."""
    known = all_limits() if limits is None else limits
    return next((known[name] for name in gate.limit_names(scope) if name in known), None)


def published_rate(contract: str, chip: str, batch_size: int) -> float | None:
    """The images/s that were published, as the limits file has them beside the limit that was derived from them."""
    limit = limit_of(GATES["published.slower"], Scope(contract, chip, batch_size))
    return limit.published if limit else None
