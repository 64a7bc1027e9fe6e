"""The number that decides each promise of a run: one choice for the last lines on the terminal and for the page's first screen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcos_lib.evidence.results import Cause, causes, in_reading_order, stored_verdict
from fcos_lib.judge.exit_status import counted
from fcos_lib.judge.gate import PROMISES
from fcos_lib.judge.gates import GATES
from fcos_lib.judge.roll_call import State
from fcos_lib.judge.verdict import Outcome, Verdict, close_pair

WORST_FIRST = (Outcome.FAIL, Outcome.INFRA, Outcome.NO_VERDICT, Outcome.STAND_IN, Outcome.PASS)
STATES = (State.MISSING, State.BLOCKED, State.NOT_SELECTED, State.DOES_NOT_APPLY)
"""What may become of a gate that did not judge; what a reader has to know first comes first."""
_NAMED_FIRST = (
    "contract.broken_rows",
    "cost.om_size",
    "consistency.unexplained", "consistency.explained",
    "accuracy.mAP_as_published", "accuracy.mAP", "paired.loss", "accuracy.reference_mAP_as_published", "accuracy.reference_mAP",
    "champion.slower", "history.pure", "published.slower", "throughput.busy_most", "throughput.rate",
)  # fmt: skip
"""Gates that a reader would name first for their promise, by key; all others come in reading order."""


_WRITTEN_OUT = 1e12
"""Below it, a large number is read more easily without a power of ten."""


@dataclass(frozen=True, slots=True)
class Number:
    """The number that decides a promise, in words."""

    verdict: Verdict
    others: int
    """Numbers that came to the same: of a red one all that are red besides, of a green one those of the same gate, itself included."""

    @property
    def value(self) -> str:
        """With just enough digits to look different from the limit; the interval if that is what leaves it undecided."""
        measured, limit = self.verdict.measurement, self.verdict.limit
        if not measured.n:
            return "not measured"
        if self.verdict.outcome is Outcome.NO_VERDICT and measured.interval:
            return f"{measured.interval[0]:.4g} to {measured.interval[1]:.4g}"
        text = close_pair(measured.value, limit.bound if limit else measured.value)[0]
        return f"{measured.value:,.0f}" if "e+" in text and abs(measured.value) < _WRITTEN_OUT else text

    @property
    def unit(self) -> str:
        """Of the value; empty if there is none."""
        return self.verdict.measurement.unit if self.verdict.measurement.n else ""

    @property
    def bound(self) -> str:
        """`≤ 1`, without its unit; empty without a limit."""
        measured, limit = self.verdict.measurement, self.verdict.limit
        return f"{'≥' if limit.at_least else '≤'} {close_pair(measured.value, limit.bound)[1]}" if limit else ""

    @property
    def limit(self) -> str:
        """`≤ 1 %`, or why there is none."""
        limit = self.verdict.limit
        return f"{self.bound} {limit.unit}" if limit else "no limit is set" if self.verdict.lacks else "recorded"

    @property
    def among(self) -> str:
        """`worst of 6`, `1 more` or nothing."""
        if not self.verdict.green:
            return f"{self.others} more" if self.others else ""
        return f"worst of {self.others}" if self.others > 1 and self.verdict.limit else ""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a promise came to in a run, and by what."""

    name: str
    outcome: Outcome | None
    """None: none of its tests judged or was stopped."""
    number: Number | None = None
    """The number that decides it; None: what stopped its tests does, or nothing was judged."""
    stopped: int = 0
    """Tests that could not judge, whatever that came to."""
    cause: Cause | None = None
    """The worst that stopped one of them."""
    silent: tuple[tuple[State, str, int], ...] = ()
    """(what became of them, why, how many) of its gates that did not judge and should have a limit."""


def deciding(document: Mapping[str, Any]) -> list[Promise]:
    """Every promise of a run, in reading order, as `results.json` has it. Nothing is decided here: the verdicts are the run's."""
    pairs = [(entry.get("test"), stored_verdict(entry)) for entry in in_reading_order(document["verdicts"])]
    stopped = [*_stopped(document)]
    promises = []
    for name in PROMISES:
        own = [(test, verdict) for test, verdict in pairs if verdict.promise == name]
        words: list[Outcome] = [verdict.outcome for _, verdict in own if not verdict.green] or counted(own)
        blocked = [(cause, test) for promise, cause, test in stopped if promise == name]
        outcomes = [*words, *(Outcome(cause.outcome) for cause, _ in blocked)]
        worst = min(outcomes, key=WORST_FIRST.index, default=None)
        number = _number([verdict for _, verdict in own], worst) if worst and worst in words else None
        tests = len({test for _, test in blocked})
        cause = min((cause for cause, _ in blocked), key=_badness, default=None)
        promises.append(Promise(name, worst, number, tests, cause, _silent(document, name)))
    return promises


def _badness(cause: Cause) -> int:
    return WORST_FIRST.index(Outcome(cause.outcome))


def _stopped(document: Mapping[str, Any]) -> Iterator[tuple[str, Cause, str]]:
    """(promise, cause, test) of what was stopped."""
    promises = {gate.test: gate.promise for gate in GATES.values()}
    for cause in causes(document["unjudged"]):
        for test in cause.tests:
            yield promises.get(test.rpartition("/")[2].partition("[")[0], ""), cause, test


def _silent(document: Mapping[str, Any], promise: str) -> tuple[tuple[State, str, int], ...]:
    """Of a promise's gates that did not judge: what became of them, why, and how many."""
    counts = Counter(
        (State(entry["state"]), str(entry["why"]))
        for entry in document.get("gates", ())
        if entry["promise"] == promise and not entry["recorded"] and entry["state"] != State.JUDGED.value
    )
    groups = sorted(counts.items(), key=lambda pair: STATES.index(pair[0][0]))
    return tuple((state, why, number) for (state, why), number in groups)


def _number(verdicts: Sequence[Verdict], worst: Outcome) -> Number:
    """Of red numbers the one furthest beyond its limit; of green ones the gate named first, where it is nearest to its limit."""
    red = [verdict for verdict in verdicts if verdict.outcome is worst and not verdict.green]
    if red:
        return Number(max(red, key=lambda verdict: (_beyond(verdict), -_rank(verdict))), len(red) - 1)
    green = [verdict for verdict in verdicts if verdict.outcome is worst]
    first = min(green, key=lambda verdict: (verdict.limit is None, _rank(verdict)))
    same = [verdict for verdict in green if _gate(verdict) == _gate(first)]
    return Number(max(same, key=_beyond), len(same))


def _gate(verdict: Verdict) -> tuple[str, str]:
    return verdict.measurement.gate or verdict.measurement.name, verdict.limit.name if verdict.limit else ""


def _rank(verdict: Verdict) -> int:
    """The place of its gate among those that are named first."""
    key = verdict.measurement.gate
    return _NAMED_FIRST.index(key) if key in _NAMED_FIRST else len(_NAMED_FIRST)


def _beyond(verdict: Verdict) -> float:
    """How far a number is on the wrong side of its limit, in parts of that limit; negative on the right side."""
    measured, limit = verdict.measurement, verdict.limit
    if limit is None or not measured.n:
        return -math.inf
    distance = (limit.bound - measured.value) if limit.at_least else (measured.value - limit.bound)
    if math.isnan(distance):
        return math.inf
    return distance / abs(limit.bound) if limit.bound else math.copysign(math.inf, distance) if distance else 0.0
