"""Records: JSON that a msgspec type describes, read within bounds; what it is not becomes an error that names the place.

msgspec refuses NaN, infinities, numbers beyond a double, halves of surrogate pairs and what is nested too deeply. The bounds on
bytes, values and digits are ours, and are looked at before anything is parsed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from fcos_lib.errors import FcosError, UsageError, refusal_as
from fcos_lib.files import read_plain, too_many_values

T = TypeVar("T")
_LONG_NUMBER = re.compile(rb"(?:^|[\[:,\s-])\d{101}")
"""More digits than any number of ours has: Python takes quadratic time for them, and no float holds them."""
_PATTERN = re.compile(r"matching regex .*", re.DOTALL)
Line = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff]*\Z")]  # fmt: skip
"""Text of one line: no control character, nothing that turns the reading direction."""


def says(description: str) -> msgspec.Meta:
    """What a field means, in its type: who reads the schema of a record is told as well."""
    return msgspec.Meta(description=description)


def plain_json(data: bytes, most_values: int | None = None) -> Any:
    """Any JSON as dicts, lists, text and finite numbers; `ValueError` says what is wrong, or that it may hold more than `most_values`."""
    if most_values is not None and too_many_values(data, most_values):
        raise ValueError(f"it holds more than {most_values:,} values")
    if _LONG_NUMBER.search(data):
        raise ValueError("it has a number of more than 100 digits")
    try:
        return msgspec.json.decode(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def record_of(document: object, kind: type[T]) -> T:
    """The record that parsed JSON describes; `ValueError` with the place and its fault in at most 200 characters.

    Nothing is converted: no text to a number, no number to a truth value.
    """
    try:
        return msgspec.convert(document, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(_place_of(error)) from error


def _place_of(error: Exception) -> str:
    """Where a document breaks its type, and how, of an error of msgspec's: `annotations[3].bbox: Expected ...`."""
    fault, _, where = str(error).partition(" - at ")
    fault = _PATTERN.sub("of other characters", fault)
    at = where.strip("`").removeprefix("$").removeprefix(".")
    return f"{at[:80]}: {fault[:100]}" if at else fault[:200]


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook` of `json`: an object; `ValueError` if it has a key twice, of which readers take this one or that."""
    document = dict(pairs)
    if len(document) != len(pairs):
        name, times = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"it has the key {name[:40]!r} {times} times")
    return document


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """A kind of JSON document: its type, its version, its bounds, and what to say if a file is none."""

    kind: type[T]
    """What msgspec is to make of it: a Struct, or anything made of them."""
    name: str
    """What such a document is called in an error: `an accepted.json`."""
    advice: str
    """What to do if a file is none."""
    most_bytes: int
    most_values: int | None = None
    version: tuple[str, int, int] | None = None
    """The field that holds its version, and the oldest and the newest that this release reads; None: it has none."""
    error: type[FcosError] = UsageError

    def read(self, path: Path) -> T:
        """The record in a file; `error` with its path if there is none, if it is too large, or none of this form."""
        return self.of(self.plain(path), str(path))

    def plain(self, path: Path) -> Any:
        """The JSON in a file, within the bounds, not held to the type yet; `error` as `read` has it."""
        with refusal_as(self.error, f"{path} cannot be read", self.advice):
            if not path.is_file() or path.stat().st_size > self.most_bytes:
                raise self.error(f"{path} is not a file of at most {self.most_bytes >> 20} MiB", self.advice)
            data = read_plain(path, self.most_bytes)
        return self.parse(data, str(path))

    def parse(self, data: bytes, where: str) -> Any:
        """The JSON in these bytes, not held to the type yet; `error` that begins with `where`."""
        try:
            return plain_json(data, self.most_values)
        except ValueError as error:
            raise self.error(f"{where} is not JSON ({str(error)[:120]})", self.advice) from error

    def of(self, document: object, where: str) -> T:
        """The record that parsed JSON describes; `error` begins with `where` and names the version, or the place and its fault."""
        if stranger := self.other_version(document):
            raise self.error(f"{where} {stranger}", f"use the release that wrote it, or {self.advice}")
        try:
            return record_of(document, self.kind)
        except ValueError as error:
            raise self.error(f"{where} is not {self.name} ({error})", self.advice) from error

    def other_version(self, document: object) -> str:
        """`has the format 3, this release reads 1 to 2`; empty for a version that is read."""
        if self.version is None:
            return ""
        field, oldest, newest = self.version
        version = document.get(field) if isinstance(document, dict) else None
        if type(version) is int and oldest <= version <= newest:
            return ""
        read = f"{oldest} to {newest}" if oldest < newest else f"{newest}"
        return f"has the {field.replace('_', ' ')} {version!r:.40}, this release reads {read}"
