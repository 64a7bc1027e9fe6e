"""Plain text: aligned columns, lines that fit a terminal's width, and output that no encoding of the terminal can end."""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

_SIGNS = {
    "≤": "<=", "≥": ">=", "…": "...", "→": "->", "←": "<-", "×": "x", "±": "+-", "−": "-", "–": "-", "—": "-", "·": ".",
    "°": " deg ", "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u202f": " ",
}  # fmt: skip
_FALLBACK = "fcos_lib.fallback"


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: a sign in ASCII, a letter without its accent, or its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(letter: str) -> str:
    without_accent = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return _SIGNS.get(letter) or without_accent or letter.encode("ascii", "backslashreplace").decode()


codecs.register_error(_FALLBACK, _plainer)


def never_fail(*streams: TextIO | None) -> None:
    """Let these streams write every text from now on; characters that they cannot encode fall back to ASCII."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_FALLBACK)


@dataclass(frozen=True, slots=True)
class Screen:
    """What lines are shown on."""

    width: int = 80
    encoding: str = "utf-8"

    def plain(self, text: str) -> str:
        """The text in one line, as a stream of this encoding shows it."""
        return " ".join(text.splitlines()).encode(self.encoding, _FALLBACK).decode(self.encoding)

    def cut(self, text: str, width: int | None = None) -> str:
        """The same in at most `width` characters, by default all of the screen's, with an ellipsis for what is left out."""
        line, ellipsis = self.plain(text), self.plain("…")
        width = self.width if width is None else width
        return line if len(line) <= width else line[: max(width - len(ellipsis), 0)].rstrip() + ellipsis


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Rows of cells as lines with aligned columns; a row's last cell may be of any length, so one of one cell is a heading."""
    most = max(map(len, rows), default=0)
    widths = [max((len(row[column]) for row in rows if len(row) > column + 1), default=0) for column in range(most)]
    return [
        f"{indent}{'  '.join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), *row[-1:]])}".rstrip()
        for row in rows
    ]


def with_class_names(text: str, names: Sequence[str]) -> str:
    """Classes by their names instead of the numbers that a device knows."""

    def name(match: re.Match[str]) -> str:
        label = int(match[1])
        return names[label] if label < len(names) else match[0]

    return re.sub(r"\blabel (\d{1,4})\b", name, text)
