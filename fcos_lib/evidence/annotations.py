"""How does a red gate show at its line in a pull request? As GitHub's workflow commands, one line of output each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST = 10
"""GitHub shows ten errors of a step and drops the others without a word."""
_LONGEST = 4000
"""Characters of a message; GitHub cuts at 64 KiB, a log should not come near."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is to be read at a line of a file."""

    title: str
    message: str
    file: str = ""
    """Relative to the repository; empty for none."""
    line: int = 0
    """Counted from 1; 0 for none."""


def workflow_commands(found: Sequence[Annotation]) -> list[str]:
    """`::error file=F,line=N,title=T::message` for each; of more than ten, the last says how many there are besides."""
    shown = list(found[:MOST]) if len(found) <= MOST else list(found[: MOST - 1])
    if more := len(found) - len(shown):
        rest = ", ".join(one.title for one in found[len(shown) :])
        shown.append(Annotation(f"{more} more red gates", rest))
    return [_command(one) for one in shown]


def _command(one: Annotation) -> str:
    properties = {"file": one.file, "line": str(one.line) if one.line else "", "title": one.title}
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::error {given}::{_data(one.message[:_LONGEST])}"


def _data(text: str) -> str:
    """As `escapeData` of GitHub's toolkit: everything that would end the line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """As `escapeProperty`: what separates properties as well."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
