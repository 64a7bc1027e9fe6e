"""Causes: what stopped tests before they could judge, each with all the tests that it stopped and the one sentence about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcos_lib.files import one_line

_LONGEST = 240
"""Characters of a reason, so that the number of tests behind it is never cut off; the message has the rest."""
SEE = "see the first: "
"""Begins the message of a test that met the cause of an earlier one; that test's id follows."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What stopped one test or several."""

    outcome: str
    message: str
    """As the first of the tests has it, whole."""
    tests: tuple[str, ...]

    @property
    def reason(self) -> str:
        """The first line of the message, which acts on no terminal, page or log, whatever it was made of."""
        return one_line(self.message.strip().partition("\n")[0], _LONGEST) or "no reason was given"

    @property
    def sentence(self) -> str:
        """`INFRA: atc ended with status 255 (7 tests could not judge, the first tests/...::test_x[batch1])`"""
        first, number = one_line(self.tests[0], _LONGEST), len(self.tests)
        who = f"{number} tests could not judge, the first {first}" if number > 1 else f"{first} could not judge"
        return f"{self.outcome}: {self.reason} ({who})"


def causes(unjudged: Sequence[Mapping[str, Any]]) -> list[Cause]:
    """Entries of `unjudged` of `results.json` by cause: tests that point to the first one, and tests that say the same."""
    causes_by_test: dict[str, tuple[str, str]] = {}
    tests: dict[tuple[str, str], dict[str, None]] = {}
    for entry in unjudged:
        message = str(entry.get("message", ""))
        cause = causes_by_test.get(message.removeprefix(SEE)) if message.startswith(SEE) else None
        cause = cause or (str(entry["outcome"]), message)
        causes_by_test.setdefault(entry["test"], cause)
        tests.setdefault(cause, {})[entry["test"]] = None
    return [Cause(outcome, message, tuple(stopped)) for (outcome, message), stopped in tests.items()]
