"""The syntax of a config: a Python file's statements, within bounds, and the values that are made of them, with their places.

The tokens are looked at and counted before Python's own parser may build a tree, whose size and depth are what a hostile file
would attack: no keyword is among them, so that nothing but assignments, calls and literals is left.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
import unicodedata
from dataclasses import dataclass
from typing import Any, NoReturn

from fcos_lib.errors import UsageError
from fcos_lib.files import one_line

_MOST_TOKENS = 50_000
_MOST_BRACKETS = 40
_MOST_OPERATORS = 200
"""In a statement: each may be a level of the tree."""
MOST_VALUES = 100_000
_MOST_LEVELS = 60
_MOST_LETTERS = 10_000
_MOST_DIGITS = 100
"""Python takes quadratic time for a number."""
_NO_LEVEL = frozenset(",=:()[]{}")
"""Operators that add no level to the tree, or one that is a bracket's."""
COMPUTED = (
    "write the value itself, or have mmengine run the config in a process of its own with --run-config, if you trust it"
)
_PLAIN = "a config is UTF-8 text; write it again in an editor"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is written: the config as the user named it, and the line; line 0: it came from running the config."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file} line {self.line}" if self.line else f"{self.file}, as it ran"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a config with its place; nothing changes one, so that several names may share it."""

    value: dict[str, Node] | list[Node] | tuple[Node, ...] | str | float | bool | None
    place: Place
    size: int = 1
    """Values in it, itself counted, as often as they are reached."""
    depth: int = 1


def refuse(place: Place, what: str, advice: str) -> NoReturn:
    """Raise the `UsageError` that every refusal is: the place and what is there, then what to do."""
    raise UsageError(one_line(f"{place}: {what}", 600), advice)


def node_of(value: Any, place: Place) -> Node:
    """A node for a scalar, or for a dict, list or tuple of nodes; `UsageError` for one that is too large or too deep."""
    inner = list(value.values() if isinstance(value, dict) else value) if isinstance(value, dict | list | tuple) else []
    size = 1 + sum(node.size for node in inner)
    depth = 1 + max((node.depth for node in inner), default=0)
    if size > MOST_VALUES or depth > _MOST_LEVELS:
        refuse(
            place,
            f"the value holds more than {MOST_VALUES:,} values or {_MOST_LEVELS} levels",
            "no FCOS needs as many; shorten it",
        )
    if isinstance(value, str) and len(value) > _MOST_LETTERS:
        refuse(place, f"a text has more than {_MOST_LETTERS:,} letters", "no FCOS needs one; shorten it")
    return Node(value, place, size, depth)


def statements(text: str, file: str) -> list[ast.stmt]:
    """The statements of a config's text; `UsageError` for what is no Python, or more of it than a config has."""
    _check_letters(text, file)
    try:
        _check_tokens(text, file)
        return ast.parse(text).body
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        place = Place(file, line or 1)
        raise UsageError(f"{place}: this is not Python ({str(error)[:100]})", "pass a config of mmdetection") from error


def _check_letters(text: str, file: str) -> None:
    """Refuse control characters, and those that show a line otherwise than Python reads it."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.isascii() and line.isprintable():
            continue
        for letter in line:
            if letter != "\t" and unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
                refuse(Place(file, number), f"there is the character U+{ord(letter):04X}, which nobody sees", _PLAIN)


def _check_tokens(text: str, file: str) -> None:
    """Refuse keywords, f-strings and blocks by their lines, and more tokens or levels than a config has."""
    brackets = operators = 0
    for count, token in enumerate(tokenize.generate_tokens(io.StringIO(text).readline)):
        place = Place(file, token.start[0])
        if token.type == tokenize.OP:
            brackets += (token.string in "([{") - (token.string in ")]}")
            operators += token.string not in _NO_LEVEL
        elif token.type == tokenize.NEWLINE:
            operators = 0
        elif token.type == tokenize.NAME:
            _check_name(token.string, place)
        elif token.type == tokenize.NUMBER and len(token.string) > _MOST_DIGITS:
            refuse(place, f"a number has more than {_MOST_DIGITS} digits", "no FCOS needs one; write a smaller one")
        elif token.type == tokenize.INDENT:
            refuse(place, "a block, such as of an if or a with, is computed", COMPUTED)
        elif _is_formatted(token):
            refuse(place, "an f-string is computed", COMPUTED)
        if count > _MOST_TOKENS or brackets > _MOST_BRACKETS or operators > _MOST_OPERATORS:
            refuse(
                place,
                f"up to here are more than {_MOST_TOKENS:,} words, {_MOST_BRACKETS} open brackets or {_MOST_OPERATORS} operators of a statement",
                "no config of mmdetection has as many; shorten it",
            )


def _check_name(name: str, place: Place) -> None:
    if keyword.iskeyword(name) and name not in ("None", "True", "False"):
        refuse(place, f"what '{name}' does is computed", COMPUTED)
    if not name.isascii():
        refuse(place, f"the name {name[:40]!a} has letters that Python takes for others", "write names in ASCII")


def _is_formatted(token: tokenize.TokenInfo) -> bool:
    """True for an f-string, whose values the parser would go into, in all versions of Python; and for a t-string."""
    if token.type == tokenize.STRING:
        return bool(set("fFtT") & set(token.string[: token.string.index(token.string[-1])]))
    return tokenize.tok_name[token.type] in ("FSTRING_START", "TSTRING_START")
