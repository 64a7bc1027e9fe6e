"""Numbers and text as the page shows them, and the templates that it is made of.

Everything that a template prints is escaped, unless it is `Markup`: made by a template or by the chart kit, or checked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from fcos_lib.diagnosis.blame import value_of
from fcos_lib.files import printable

_FOLDER = Path(__file__).parent
_MINUS = re.compile(r"(?<![\w)\]./-])-(?=\.?\d)|(?<=\de)-(?=\d)")


@cache
def templates() -> Environment:
    """The templates of the page: what they print is escaped, and a name that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for make in (number, fixed, minus, value_of, plural, slug, pieces, shell, as_json, sha256_source):
        environment.filters[make.__name__] = make
    return environment


@cache
def asset(name: str) -> Markup:
    """A file of this package that goes into the page as it is."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def clean(value: object) -> Markup:
    """Text of a stranger's file as HTML: escaped, not endless, without what turns the reading direction or is no character.

    None is nothing; `Markup` stays as it is.
    """
    if isinstance(value, Markup):
        return value
    return Markup() if value is None else escape(printable(str(value), 20_000))


def number(value: Any, digits: int = 4, *, signed: bool = False) -> str:
    """A number with this many significant digits and a real minus sign; `–` for what is none."""
    finite = value_of(value)
    return "–" if finite is None else f"{finite:{'+' if signed else ''}.{digits}g}".replace("-", "−")


def fixed(value: Any, places: int = 4, *, signed: bool = False) -> str:
    """The same with a fixed number of decimal places, for columns; never −0."""
    finite = value_of(value)
    if finite is None:
        return "–"
    text = f"{finite:{'+' if signed else ''}.{places}f}"
    if not float(text):
        text = f"{'±' if signed else ''}{0:.{places}f}"
    return text.replace("-", "−")


def minus(text: str) -> str:
    """The same words with real minus signs before numbers; hyphens in names, dates and options stay."""
    return _MINUS.sub("−", text)


def numbers(values: Any) -> list[float]:
    """Only finite numbers; `ValueError` if there is anything else."""
    finite = [value_of(value) for value in values]
    if None in finite:
        raise ValueError("there is something that is no number")
    return [value for value in finite if value is not None]


def plural(count: int, singular: str, many: str = "") -> str:
    """`1 gate`, `2 gates`; thousands are set apart."""
    return f"{count:,} {singular if count == 1 else many or f'{singular}s'}"


def pieces(text: str) -> list[str]:
    """The words of a command and the space between them, in their order."""
    return [piece for piece in re.split(r"(\s+)", text) if piece]


def shell(words: Iterable[object]) -> str:
    """A command to be pasted into a shell, quoted."""
    return shlex.join(map(str, words))


def as_json(value: object, indent: int | None = None) -> str:
    """Any value as JSON."""
    return json.dumps(value, indent=indent, ensure_ascii=False)


def slug(text: str) -> str:
    """An id of letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def sha256_source(text: str) -> str:
    """A style or script as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
