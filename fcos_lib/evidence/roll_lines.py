"""How many gates judged, and what became of the others, in a few lines."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fcos_lib.evidence.deciding import STATES, Promise
from fcos_lib.evidence.plain_text import Screen
from fcos_lib.files import one_line
from fcos_lib.judge.roll_call import State

_SHORT_REASON, _GLUE = re.compile(r"\([^()]{1,30}\)"), "\N{NO-BREAK SPACE}"
"""What left gates out stays in one line."""


def roll_lines(promises: Sequence[Promise], document: Mapping[str, Any], screen: Screen, room: int) -> list[str]:
    """How many gates judged and what became of the others, in the fullest words that `room` lines hold; `-v` has every name."""
    owed = [entry for entry in document["gates"] if not entry["recorded"]]
    if not owed:
        return []
    silent_gates = sum(number for promise in promises for _, _, number in promise.silent)
    start = f"gates: {len(owed) - silent_gates} of {len(owed)} judged"
    total = Counter(entry["promise"] for entry in owed)
    told = [promise.cause.message for promise in promises if promise.cause]
    choices = ((True, True), (False, True), (True, False), (False, False))
    forms = [
        "; ".join([start, *_states(promises, total, named, told if reasons else None)]) for named, reasons in choices
    ]
    for form in (*forms, f"{start} (-v has all others)"):
        text = screen.plain(one_line(form, 1000))
        together = _SHORT_REASON.sub(lambda reason: reason[0].replace(" ", _GLUE), text)
        lines = textwrap.wrap(
            together, screen.width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        if len(lines) <= room and max(map(len, lines)) <= screen.width:
            return [line.replace(_GLUE, " ") for line in lines]
    return [screen.cut(start)]


def _states(
    promises: Sequence[Promise], total: Mapping[str, int], named: bool, told: Sequence[str] | None
) -> Iterator[str]:
    """What became of gates that did not judge, with the promises they are of if `named`.

    And why, unless `told` is None. What `told` holds is a note of its own, as is why a gate is missing; one that does not apply
    concerns nobody.
    """
    for state in STATES:
        by_reason: dict[str, dict[str, int]] = {}
        for promise in promises:
            for of, why, number in promise.silent:
                if of is state:
                    known = told is None or state not in (State.BLOCKED, State.NOT_SELECTED) or _told(why, told)
                    counts = by_reason.setdefault("" if known else why, {})
                    counts[promise.name] = counts.get(promise.name, 0) + number
        groups = []
        for why, counts in by_reason.items():
            names = (name if number == total[name] else f"{number} of {name}" for name, number in counts.items())
            several = "do not apply" if state is State.DOES_NOT_APPLY and sum(counts.values()) > 1 else state.value
            what = ", ".join(names) if named else f"{sum(counts.values())} {several}"
            groups.append(f"{what} ({why})" if why else what)
        if groups:
            yield f"{state.value}: {', '.join(groups)}" if named else ", ".join(groups)


def _told(why: str, causes_told: Sequence[str]) -> bool:
    return any(message.startswith(why) for message in causes_told)
