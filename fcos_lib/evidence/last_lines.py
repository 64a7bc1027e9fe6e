"""The last lines of a run: its verdict in at most twelve lines, which one reads in ten seconds.

A line for each promise with the number that decides it, then what stopped tests, what was not judged, where the whole of it
is, and the command that runs again what failed. Nothing is decided here: words and limits are those of the verdicts.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fcos_lib.evidence.causes import Cause, causes
from fcos_lib.evidence.plain_text import Screen
from fcos_lib.evidence.results import again, has_stand_in, in_reading_order, stored_verdict, word_of
from fcos_lib.files import one_line
from fcos_lib.judge.gate import PROMISES
from fcos_lib.judge.gates import GATES
from fcos_lib.judge.roll_call import State, counted, stored_entry, unanswered
from fcos_lib.judge.verdict import Outcome, Verdict, close_pair

MOST = 12
STAND_IN = "STAND-IN: measured on the emulator; says nothing about hardware."
_WORST_FIRST = (Outcome.FAIL, Outcome.INFRA, Outcome.NO_VERDICT, Outcome.STAND_IN, Outcome.PASS)
_STATES = (State.MISSING, State.BLOCKED, State.NOT_SELECTED, State.DOES_NOT_APPLY)
_NAMED_FIRST = (
    "contract.broken_rows",
    "cost.om_size",
    "consistency.unexplained", "consistency.explained",
    "accuracy.mAP_as_published", "accuracy.mAP", "paired.loss", "accuracy.reference_mAP_as_published", "accuracy.reference_mAP",
    "champion.slower", "history.pure", "published.slower", "throughput.rate",
)  # fmt: skip
"""Gates that a reader would name first for their promise, by key; all others come in reading order."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What the last lines say besides what is in the document of the run."""

    page: str = ""
    """A line that says where the page is, or why there is none; empty if none was wanted."""
    saved: str = ""
    """Where the results are, or why they are not."""
    program: str = "pytest"
    """How pytest is called here."""
    last_failed: bool = True
    """True if pytest remembers which tests failed, so that `--lf` runs them."""


def last_lines(document: Mapping[str, Any], ending: Ending, screen: Screen) -> list[tuple[str, str]]:
    """(word for its colour, line) of a run that ended, as `results.json` has it; the word is empty for a line without one.

    At most `MOST` lines that fit the screen. Only what is to be pasted, a path or a command, may be longer: it is never cut.
    """
    stopped = causes(document["unjudged"])
    head = [_heading(document, screen), *_promises(document, stopped, screen)]
    below = [("", line) for line in _roll(document)]
    below += [("STAND-IN", STAND_IN)] if has_stand_in(document) else []
    saved = f"details in {ending.saved}" if ending.saved else ""
    last = [("", screen.plain(line)) for line in (ending.page, saved, _again(document, ending)) if line]
    notes = list(_notes(document, stopped))
    room = max(MOST - len(head) - len(below) - len(last), 1)
    left = f" +{len(notes) - room} more (-v)" if len(notes) > room else ""
    shown = [(word, screen.cut(one_line(line))) for word, line in notes[:room]]
    if left:
        word, line = notes[room - 1]
        shown[-1] = word, screen.cut(one_line(line), screen.width - len(left)) + left
    return [*head, *shown, *((word, screen.cut(one_line(line))) for word, line in below), *last]


def _heading(document: Mapping[str, Any], screen: Screen) -> tuple[str, str]:
    """The run in a word, where it was measured, and the exit status."""
    word, device = word_of(document), document["environment"].get("device") or {}
    chip = "the emulator" if device.get("stand_in") else one_line(str(device.get("soc_version", "")), 30)
    where = f" on {chip}" if chip else ""
    text = f" verdicts: {word}{where}, exit status {document['run'].get('exit_status')} "
    return word, screen.cut(text.center(screen.width, "="))


def _promises(document: Mapping[str, Any], stopped: Sequence[Cause], screen: Screen) -> Iterator[tuple[str, str]]:
    """A line for each promise that was judged, or whose tests were stopped."""
    entries = in_reading_order(document["verdicts"])
    pairs = [(entry, stored_verdict(entry)) for entry in entries]
    blocked = _stopped_by_promise(stopped)
    for promise in PROMISES:
        own = [(entry.get("test"), verdict) for entry, verdict in pairs if verdict.promise == promise]
        words: list[Outcome] = [verdict.outcome for _, verdict in own if not verdict.green] or counted(own)
        outcomes = [*words, *blocked.get(promise, {})]
        if not outcomes:
            continue
        worst = min(outcomes, key=_WORST_FIRST.index)
        start = f"{worst.value:<10}  {promise:<11}  "
        number = sum(blocked.get(promise, {}).values())
        if worst in words:
            text = _deciding([verdict for _, verdict in own], worst, replace(screen, width=screen.width - len(start)))
        else:
            text = f"{number} {'tests' if number > 1 else 'test'} could not judge; the cause is below"
        yield worst.value, screen.cut(start + text)


def _stopped_by_promise(stopped: Sequence[Cause]) -> dict[str, Counter[Outcome]]:
    """How many tests of each promise were stopped, by what that comes to."""
    promises = {gate.test: gate.promise for gate in GATES.values()}
    counts: dict[str, Counter[Outcome]] = {}
    for cause in stopped:
        for test in cause.tests:
            promise = promises.get(test.rpartition("/")[2].partition("[")[0], "")
            counts.setdefault(promise, Counter())[Outcome(cause.outcome)] += 1
    return counts


def _deciding(verdicts: Sequence[Verdict], worst: Outcome, screen: Screen) -> str:
    """The number that decides a promise: its name, its value, its limit, and on what it was measured."""
    red = [verdict for verdict in verdicts if verdict.outcome is worst and not verdict.green]
    if red:
        chosen = max(red, key=lambda verdict: (_beyond(verdict), -_rank(verdict)))
        more = f"; {len(red) - 1} more" if len(red) > 1 else ""
    else:
        green = [verdict for verdict in verdicts if verdict.outcome is worst]
        first = min(green, key=lambda verdict: (verdict.limit is None, _rank(verdict)))
        same = [verdict for verdict in green if _name(verdict) == _name(first)]
        chosen = max(same, key=_beyond)
        more = f", worst of {len(same)}" if len(same) > 1 else ""
    measured, limit = chosen.measurement, chosen.limit
    value, bound = close_pair(measured.value, limit.bound if limit else measured.value)
    unit = f" {measured.unit}"
    if chosen.outcome is Outcome.NO_VERDICT and measured.interval:
        value = f"{measured.interval[0]:.4g} to {measured.interval[1]:.4g}"
    if limit:
        unit, allowed = "", f"{'≥' if limit.at_least else '≤'} {bound} {limit.unit}"
    else:
        allowed = "no limit is set" if chosen.lacks else "recorded"
    value = f"{value}{unit}" if measured.n else "not measured"
    name, rest = one_line(measured.name), screen.plain(one_line(f" {value} ({allowed}), {chosen.subject}"))
    if len(screen.plain(name)) + len(rest) + len(more) <= screen.width:
        rest += more
    return screen.cut(name, max(screen.width - len(rest), 8)) + rest


def _name(verdict: Verdict) -> tuple[str, str]:
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


def _notes(document: Mapping[str, Any], stopped: Sequence[Cause]) -> Iterator[tuple[str, str]]:
    """What keeps the run from being green besides numbers: the causes that stopped tests, tests that did not run, open gates."""
    for cause in sorted(stopped, key=lambda cause: _WORST_FIRST.index(Outcome(cause.outcome))):
        yield cause.outcome, cause.sentence
    yield from silent(document)
    if failures := int(document["run"].get("other_failures", 0)):
        yield "FAIL", f"FAIL: {failures} tests that are no gates failed, or files could not be collected"


def silent(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(NO VERDICT, sentence) for tests that did not run, and for gates that are missing or were required and did not judge."""
    run = document["run"]
    if not_run := run.get("gates_not_run"):
        yield "NO VERDICT", f"NO VERDICT: {not_run} selected tests did not run"
    entries = [stored_entry(entry) for entry in document["gates"]]
    if open_gates := unanswered(entries, run.get("require", ())):
        first = open_gates[0]
        text = f"{first.key}[{first.subject}] was not judged: {first.state.value}, {first.why}"
        yield "NO VERDICT", f"NO VERDICT: {text}; {len(open_gates)} such gates in all"


def _roll(document: Mapping[str, Any]) -> list[str]:
    """How many gates judged, and of which promises gates did not, in one line; `-v` has them by name and reason."""
    owed = [entry for entry in document["gates"] if not entry["recorded"]]
    total = Counter(entry["promise"] for entry in owed)
    silent_by_state: dict[str, Counter[str]] = {}
    for entry in owed:
        if entry["state"] != State.JUDGED.value:
            silent_by_state.setdefault(entry["state"], Counter())[entry["promise"]] += 1
    judged = len(owed) - sum(counts.total() for counts in silent_by_state.values())
    parts = [f"gates: {judged} of {len(owed)} judged"]
    for state, counts in sorted(silent_by_state.items(), key=lambda pair: _STATES.index(State(pair[0]))):
        of = (promise if number == total[promise] else f"{number} of {promise}" for promise, number in counts.items())
        parts.append(f"{state}: {', '.join(of)}")
    return ["; ".join(parts)] if owed else []


def _again(document: Mapping[str, Any], ending: Ending) -> str:
    """The command that runs again what failed; all of the run if pytest does not know what that was. Empty if it is green."""
    run = document["run"]
    if run.get("exit_status") == 0:
        return ""
    red = [entry["test"] for entry in document["verdicts"] if not stored_verdict(entry).green]
    failed = list(dict.fromkeys([*red, *(entry["test"] for entry in document["unjudged"])]))
    if failed and ending.last_failed:
        command = f"{shlex.quote(ending.program)} --lf tests/acceptance {run.get('options', '')}".rstrip()
    elif len(failed) == 1:
        command = again(document, failed[0])
    else:
        command = shlex.join(run.get("command", []))
    return f"again: {command}"
