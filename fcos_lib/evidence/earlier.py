"""Earlier runs: what changed since the last one, and the numbers of those before it. Both travel in `results.json` as evidence.

So the page of a run needs no other file, and every run hands on what the one before it knew: there is no store of runs to look
after. Numbers of runs are put in a row only if they were measured on the same pictures and the same kind of device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, to_builtins

from fcos_lib.evidence.difference import difference
from fcos_lib.evidence.difference_words import TURNED, Section, in_words, sections, sentence
from fcos_lib.evidence.results import stored_verdict, word_of
from fcos_lib.judge.verdict import Verdict
from fcos_lib.records import Line, record_of

PREVIOUS = "previous.json"
"""The last run that ended, beside `results.json`."""
EARLIER, SINCE = "earlier", "since"
"""The kinds of evidence."""
MOST = 20
"""Runs whose numbers are handed on."""
_PICTURES = "shown with other differences"
_PURE_RATES = ("throughput.rate", "published.slower", "published.faster")
"""Gates that are about the pure rate itself, by key."""
_ROWS = 60
"""Of a section of what changed."""


class EarlierRun(Struct, frozen=True):
    """The numbers of one run."""

    started_at: Line
    word: Line
    """What it came to."""
    measured_on: Line
    """Pictures and device: only numbers of runs in which it is the same belong in a row."""
    numbers: Annotated[dict[Line, float], Meta(max_length=5000)]
    """By gate and subject; what the emulator had a part in is told apart."""


class _Rate(Struct, frozen=True):
    """What evidence of throughput says of a rate's past."""

    series: Line
    earlier: Annotated[tuple[tuple[Line, float], ...], Meta(max_length=MOST)] = ()


class _Earlier(Struct, frozen=True):
    runs: Annotated[tuple[EarlierRun, ...], Meta(max_length=MOST)]


def evidence_of_earlier(previous: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Records for `document`, from the run before it: what changed since, and the numbers of all runs that are known, oldest first."""
    changes, runs = difference(previous, document), ("last run", "this run")
    shown = _once(sections(changes, runs))
    turns: list[tuple[str, ...]] = [
        (turn.subject, turn.picture, in_words(turn, runs)) for turn in changes.pictures or ()
    ]
    if turns:
        shown.append((_PICTURES, ("on", "picture", "differences"), turns))
    since = {
        "started_at": previous["run"].get("started_at", ""),
        "word": word_of(previous),
        "sentence": sentence(changes),
        "sections": [
            {"title": title, "header": header, "rows": rows[:_ROWS], "left": max(len(rows) - _ROWS, 0)}
            for title, header, rows in shown
        ],
    }
    yield {"kind": SINCE, "subject": "all", "data": since}
    handed_on = [*_known(previous), _summary(previous)][-MOST:]
    yield {"kind": EARLIER, "subject": "all", "data": {"runs": to_builtins(handed_on)}}


def _once(shown: list[Section]) -> list[Section]:
    """Numbers whose verdict is another one stand beside their verdicts, and nowhere else."""
    turned = {row[0] for title, _, rows in shown for row in rows if title == TURNED}
    numbers = {
        row[0]: row for title, _, rows in shown for row in rows if title.startswith("moved") and row[0] in turned
    }
    merged: list[Section] = []
    for title, header, rows in shown:
        if title == TURNED:
            beside = [(row, numbers.get(row[0], ("", "", "", "the same number"))) for row in rows]
            rows = [
                (gate, f"{before} {a}".rstrip(), f"{after} {b}".rstrip(), change)
                for (gate, before, after), (_, a, b, change, *_) in beside
            ]
            header = (*header, "change")
        elif title.startswith("moved"):
            rows = [row for row in rows if row[0] not in turned]
        if rows:
            merged.append((title, header, rows))
    return merged


def numbers_before(document: Mapping[str, Any], verdict: Verdict) -> list[tuple[str, float]]:
    """(when, value) of a verdict's number in earlier runs on the same pictures and device, the oldest first.

    A rate has its own history if runs of the same fingerprint are stored: it holds more than what was handed on.
    """
    here, name = _measured_on(document), _name(verdict)
    handed_on = [
        (run.started_at, run.numbers[name])
        for run in _known(document)
        if run.measured_on == here and name in run.numbers
    ]
    return _stored_rates(document, verdict) or handed_on


def _stored_rates(document: Mapping[str, Any], verdict: Verdict) -> list[tuple[str, float]]:
    """Of a number that is a pure rate: (when, images/s) in stored runs, as the evidence of throughput has them."""
    if verdict.measurement.gate not in _PURE_RATES:
        return []
    series = f"{verdict.subject.partition('-')[0]} pure"
    for entry in document["evidence"]:
        if entry["kind"] == "throughput":
            try:
                rates = record_of(entry["data"].get("rates"), tuple[_Rate, ...])
            except ValueError:
                return []
            return [pair for rate in rates if rate.series == series for pair in rate.earlier]
    return []


def _known(document: Mapping[str, Any]) -> tuple[EarlierRun, ...]:
    """What a run was handed on; nothing if that cannot be read."""
    data = next((entry["data"] for entry in document["evidence"] if entry["kind"] == EARLIER), None)
    try:
        return record_of(data, _Earlier).runs
    except ValueError:
        return ()


def _summary(document: Mapping[str, Any]) -> EarlierRun:
    verdicts = (stored_verdict(entry) for entry in document["verdicts"])
    numbers = {
        _name(verdict): verdict.measurement.value
        for verdict in verdicts
        if verdict.measurement.n and abs(verdict.measurement.value) < float("inf")
    }
    started = str(document["run"].get("started_at", ""))
    return EarlierRun(started, word_of(document), _measured_on(document), numbers)


def _name(verdict: Verdict) -> str:
    """A number's name in every run."""
    key = verdict.measurement.gate or verdict.measurement.name
    return f"{key}[{verdict.subject}]{' STAND-IN' if verdict.stand_in else ''} {verdict.measurement.unit}"


def _measured_on(document: Mapping[str, Any]) -> str:
    """The pictures and the kind of device of a run, as one text."""
    settings, device = document["run"].get("settings") or {}, document["environment"].get("device") or {}
    of = settings.get("pictures")
    pictures = f"{str(settings.get('annotations_sha256'))[:12]}, {'all' if of is None else of} pictures"
    return f"{pictures}, {device.get('soc_version', 'no device')}"
