"""How does text from a stranger's file become HTML? Everything is escaped unless this module made it."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from typing import Any

from fcos_lib.files import printable

_VOID = frozenset({"meta", "br", "input", "img"})
_EMPTY = frozenset({"path", "rect", "line", "circle", "image", "use"})
"""SVG elements that are written without an end when they hold nothing."""
_MINUS = re.compile(r"(?<![\w)\]./-])-(?=\.?\d)|(?<=\de)-(?=\d)")


class Markup(str):
    """Text that is HTML already, because `tag` made it or it is a constant of this package."""

    __slots__ = ()


Child = str | int | None | Iterable["Child"]


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """One element; `class_` and `for_` lose their underscore, others become a hyphen. True is a bare attribute, None none.

    A `Markup` as a value is taken as it is: data that was checked, too long to be looked at again.
    """
    parts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        text = text if isinstance(value, Markup) else html.escape(_clean(text))
        parts.append(f" {shown}" if value is True else f' {shown}="{text}"')
    inside = "".join(_flat(children))
    if name in _VOID:
        return Markup(f"<{name}{''.join(parts)}>")
    if not inside and name in _EMPTY:
        return Markup(f"<{name}{''.join(parts)}/>")
    return Markup(f"<{name}{''.join(parts)}>{inside}</{name}>")


def together(*children: Child) -> Markup:
    """Children side by side."""
    return Markup("".join(_flat(children)))


def _flat(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, str | int | float):
            yield html.escape(_clean(str(child)))
        else:
            yield from _flat(child)


def _clean(text: str) -> str:
    """Nothing that turns the reading direction round or is no character; a mail client shows what it likes of those."""
    return printable(text, 20_000)


def number(value: Any, digits: int = 4, *, signed: bool = False) -> str:
    """A number with this many significant digits and a real minus sign; `–` for what is none."""
    found = value_of(value)
    if found is None:
        return "–"
    return f"{found:{'+' if signed else ''}.{digits}g}".replace("-", "−")


def fixed(value: Any, places: int, *, signed: bool = False) -> str:
    """The same with a fixed number of decimal places, for columns; never −0."""
    found = value_of(value)
    if found is None:
        return "–"
    text = f"{found:{'+' if signed else ''}.{places}f}"
    if not float(text):
        text = text.replace("-", "+" if signed else "").replace("+", "±" if signed else "")
    return text.replace("-", "−")


def minus(text: str) -> str:
    """The same words with real minus signs before numbers; hyphens in names, dates and options stay."""
    return _MINUS.sub("−", text)


def value_of(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def plural(count: int, one: str, many: str = "") -> str:
    """`1 gate`, `2 gates`; thousands are set apart."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def slug(text: str) -> str:
    """An id of letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def command(text: str) -> Markup:
    """A command with a button that copies it, which shows only where scripts run; a line ends between two words only."""
    words = [word if word.isspace() else tag("span", word) for word in re.split(r"(\s+)", text) if word]
    return tag(
        "div",
        tag("code", words, class_="line", tabindex="0"),
        tag("button", "Copy", type="button", class_="copy", aria_label="Copy the command"),
        class_="command",
    )


def term(rows: Iterable[tuple[Child, Child]], kind: str = "facts") -> Markup:
    """A list of terms and what they are."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", text)) for name, text in rows], class_=kind)


def scrolling(content: Markup, name: str) -> Markup:
    """A box of its own, which scrolls sideways where the screen is narrow."""
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=name)


def table(caption: str, header: Iterable[str], rows: Iterable[Markup], kind: str = "") -> Markup:
    """A table that scrolls sideways where the screen is narrow; its caption stays."""
    content = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in header])),
        tag("tbody", rows),
        class_=kind or None,
    )
    return scrolling(content, caption)


def row(*cells: Child, head: int = 1, kind: str = "") -> Markup:
    """A row; its first `head` cells name it."""
    return tag(
        "tr",
        [tag("th", cell, scope="row") if place < head else tag("td", cell) for place, cell in enumerate(cells)],
        class_=kind or None,
    )


def group_head(name: str, columns: int) -> Markup:
    """A row that names those below it."""
    return tag("tr", tag("th", name, scope="rowgroup", colspan=columns), class_="group")


def outcome(word: str, kind: str = "") -> Markup:
    """A verdict as a chip: colour, word and shape."""
    return tag("span", word, class_=f"chip {slug(word)} {kind}".strip())
