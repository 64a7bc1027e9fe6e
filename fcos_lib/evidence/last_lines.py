"""The last lines of a run: its verdict in at most twelve lines, which one reads in ten seconds.

A line for each promise with the number that decides it, then what stopped tests, what was not judged, where the whole of it
is, and the command that runs again what failed. Nothing is decided here: words and limits are those of the verdicts.
"""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcos_lib.evidence.deciding import WORST_FIRST, Number, Promise, deciding
from fcos_lib.evidence.explained import can_be_explained, to_blame
from fcos_lib.evidence.plain_text import Screen
from fcos_lib.evidence.results import again, causes, has_stand_in, stored_verdict, word_of
from fcos_lib.evidence.roll_lines import roll_lines
from fcos_lib.files import one_line
from fcos_lib.judge.roll_call import stored_entry, unanswered
from fcos_lib.judge.verdict import Outcome

MOST = 12
_CAUSE = "cause", "causes", "causes"
_NOT_RUN = "test that did not run", "tests that did not run", "tests"
_OPEN = "gate without an answer", "gates without an answer", "gates"
_OTHER = "other failure", "other failures", "failures"
STAND_IN = "STAND-IN: measured on the emulator; says nothing about hardware."


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

    @property
    def results(self) -> str:
        """The file of the results; empty if `saved` says why there is none."""
        return self.saved if self.saved.endswith(".json") else ""


@dataclass(frozen=True, slots=True)
class _Note:
    """What keeps a run from being green besides numbers, and what it counts as where there is no room for it."""

    word: str
    sentence: str
    count: int
    what: tuple[str, str, str]
    """One of them, several, and their kind in a word."""


def last_lines(document: Mapping[str, Any], ending: Ending, screen: Screen) -> list[tuple[str, str]]:
    """(word for its colour, line) of a run that ended, as `results.json` has it; the word is empty for a line without one.

    At most `MOST` lines that fit the screen. Only what is to be pasted, a path or a command, may be longer: it is never cut.
    """
    promises = deciding(document)
    head = [_heading(document, screen), *_promises(promises, screen)]
    stand_in = [("STAND-IN", screen.cut(STAND_IN))] if has_stand_in(document) else []
    saved = f"details in {ending.saved}" if ending.saved else ""
    last = [("", screen.plain(line)) for line in (ending.page, saved, _again(document, ending)) if line]
    notes = list(_notes(document))
    room = MOST - len(head) - len(stand_in) - len(last)
    if room > 1 + bool(notes) and (why := _why(document, ending, screen)):
        head.append(("", why))
        room -= 1
    # Two lines for a long one, if there are so many: what says why often stands behind a path.
    wanted = sum(2 if len(note.sentence) > screen.width else 1 for note in notes)
    roll = roll_lines(promises, document, screen, max(room - max(wanted, 1), 1))
    below = [*(("", line) for line in roll), *stand_in]
    return [*head, *_fitting(notes, max(room - len(roll), 1), screen), *below, *last]


def _heading(document: Mapping[str, Any], screen: Screen) -> tuple[str, str]:
    """The run in a word, where it was measured, and the exit status."""
    word, device = word_of(document), document["environment"].get("device") or {}
    chip = "the emulator" if device.get("stand_in") else one_line(str(device.get("soc_version", "")), 30)
    where = f" on {chip}" if chip else ""
    text = f" verdicts: {word}{where}, exit status {document['run'].get('exit_status')} "
    return word, screen.cut(text.center(screen.width, "="))


def _promises(promises: Sequence[Promise], screen: Screen) -> Iterator[tuple[str, str]]:
    """A line for each promise that was judged, or whose tests were stopped."""
    for promise in promises:
        if promise.outcome is None:
            continue
        start = f"{promise.outcome.value:<10} {promise.name:<11} "
        if promise.number:
            text = _in_words(promise.number, replace(screen, width=screen.width - len(start)))
        else:
            tests = "tests" if promise.stopped > 1 else "test"
            text = f"{promise.stopped} {tests} could not judge; the cause is below"
        yield promise.outcome.value, screen.cut(start + text)


def _in_words(number: Number, screen: Screen) -> str:
    """A number: its name, its value with its unit, its limit, and on what it was measured.

    Where that is too long the other numbers are left out, then the limit goes without its unit, and at last the name is cut.
    """
    name = screen.plain(one_line(number.verdict.measurement.name))
    value, subject = f"{number.value} {number.unit}".rstrip(), number.verdict.subject
    short = number.bound if number.bound and number.unit else number.limit
    separator = ", " if number.verdict.green else "; "
    among = f"{separator}{number.among}" if number.among else ""
    rests = [
        screen.plain(one_line(f" {value} ({limit}), {subject}")) + more
        for limit, more in ((number.limit, among), (number.limit, ""), (short, among), (short, ""))
    ]
    rest = next((rest for rest in rests if len(name) + len(rest) <= screen.width), rests[-1])
    return screen.cut(name, max(screen.width - len(rest), 8)) + rest


def _notes(document: Mapping[str, Any]) -> Iterator[_Note]:
    """The causes that stopped tests, the worst first, tests that did not run, open gates, and failures of other tests."""
    for cause in sorted(causes(document["unjudged"]), key=lambda cause: WORST_FIRST.index(Outcome(cause.outcome))):
        yield _Note(cause.outcome, cause.sentence, 1, _CAUSE)
    yield from _silent(document)
    if failures := int(document["run"].get("other_failures", 0)):
        text = f"FAIL: {failures} tests that are no gates failed, or files could not be collected"
        yield _Note("FAIL", text, failures, _OTHER)


def silent(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(NO VERDICT, sentence) for tests that did not run, and for gates that are missing or were required and did not judge."""
    return ((note.word, note.sentence) for note in _silent(document))


def _silent(document: Mapping[str, Any]) -> Iterator[_Note]:
    run = document["run"]
    if not_run := run.get("gates_not_run"):
        text = f"NO VERDICT: {not_run} selected tests did not run"
        yield _Note("NO VERDICT", text, not_run, _NOT_RUN)
    entries = [stored_entry(entry) for entry in document["gates"]]
    if open_gates := unanswered(entries, run.get("require", ())):
        first = open_gates[0]
        text = f"{first.key}[{first.subject}] was not judged: {first.state.value}, {first.why}"
        text = f"NO VERDICT: {text}; {len(open_gates)} such gates in all"
        yield _Note("NO VERDICT", text, len(open_gates), _OPEN)


def _fitting(notes: Sequence[_Note], room: int, screen: Screen) -> list[tuple[str, str]]:
    """As many notes as there is room for; the last one says how many of what are left out.

    Where there is more room than notes, the first ones have several lines.
    """
    shown: list[tuple[str, str]] = []
    for number, note in enumerate(notes[:room]):
        spare = room - len(shown) - (len(notes) - number)
        shown += [(note.word, line) for line in _wrapped(note.sentence, 1 + max(spare, 0), screen)]
    counts = Counter[tuple[str, str, str]]()
    for note in notes[room:]:
        counts[note.what] += note.count
    if counts:
        note = notes[room - 1]
        named = (f"{n}{' more' * (what == note.what)} {what[n > 1]}" for what, n in counts.items())
        left = screen.plain(f"; also {', '.join(named)} (-v)")
        if 2 * len(left) > screen.width:
            left = screen.plain(f"; {counts.total()} more: {', '.join(kind for _, _, kind in counts)} (-v)")
        shown[-1] = note.word, screen.cut(screen.cut(one_line(note.sentence), screen.width - len(left)) + left)
    return shown


def _wrapped(sentence: str, most: int, screen: Screen) -> list[str]:
    """A sentence in at most so many lines; an ellipsis for what is left out."""
    text = screen.plain(one_line(sentence))
    if len(text) <= screen.width or most == 1:
        return [screen.cut(text)]
    lines = textwrap.wrap(text, screen.width, subsequent_indent="  ", break_on_hyphens=False)
    return [screen.cut(line) for line in (*lines[: most - 1], " ".join(lines[most - 1 :])) if line]


def _why(document: Mapping[str, Any], ending: Ending, screen: Screen) -> str:
    """What is to blame for a failure, or the command that finds out; empty if neither is known."""
    if known := to_blame(document):
        return screen.cut(screen.plain(one_line(f"to blame: {known}")))
    if not can_be_explained(document) or not ending.results:
        return ""
    python = str(Path(ending.program).with_name("python")) if "/" in ending.program else "python"
    return screen.plain(f"why: {shlex.join([python, '-m', 'fcos_lib', 'explain', ending.results])}")


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
