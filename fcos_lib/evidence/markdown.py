"""Verdicts for code hosts: a summary in Markdown, and annotations of a workflow."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.evidence.results import (
    again,
    causes,
    has_stand_in,
    in_reading_order,
    stored_verdict,
    verdict_rows,
    word_of,
)
from fcos_lib.files import printable
from fcos_lib.judge.roll_call import in_words
from fcos_lib.judge.verdict import Verdict, close_pair, paragraph

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


def workflow_commands(annotations: Sequence[Annotation]) -> list[str]:
    """`::error file=F,line=N,title=T::message` for each; of more than ten, the last says how many there are besides."""
    shown = list(annotations[:MOST]) if len(annotations) <= MOST else list(annotations[: MOST - 1])
    if more := len(annotations) - len(shown):
        rest = ", ".join(annotation.title for annotation in annotations[len(shown) :])
        shown.append(Annotation(f"{more} more red gates", rest))
    return [_command(annotation) for annotation in shown]


def _command(annotation: Annotation) -> str:
    properties = {
        "file": annotation.file,
        "line": str(annotation.line) if annotation.line else "",
        "title": annotation.title,
    }
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::error {given}::{_data(annotation.message[:_LONGEST])}"


def _data(text: str) -> str:
    """As `escapeData` of GitHub's toolkit: everything that would end the line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """As `escapeProperty`: what separates properties as well."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


MOST_BYTES = 1 << 20
"""What GitHub takes as the summary of a step; it drops all of a longer one (Workflow commands, "Step isolation and limits")."""
_ROWS, _RED = 500, 100
_ENDING = 200
"""Bytes kept for the line that says what was left out."""


def append_summary(path: Path, document: Mapping[str, Any]) -> None:
    """Append the summary of a run to what a CI job has to say so far (`$GITHUB_STEP_SUMMARY`), within its bound. `OSError`."""
    if path.exists() and not path.is_file():  # opening a pipe that nobody reads would wait for ever
        raise OSError(f"{path} is not a file")
    there = path.stat().st_size if path.exists() else 0
    if text := summary(document, room=MOST_BYTES - there):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def summary(document: Mapping[str, Any], *, room: int = MOST_BYTES) -> str:
    """The verdict table, red gates, worst numbers and provenance of a run (as `read_results` gives it) as Markdown.

    At most `room` bytes: parts that do not fit are left out whole, and their number is said.
    """
    kept, left, room = [], 0, room - _ENDING
    for part in _parts(document):
        size = len(part.encode())
        if size > room:
            left += 1
            continue
        kept.append(part)
        room -= size
    if left and room >= 0:
        kept.append(f"*{left} parts are left out: too long for this place. All of it is in results.json.*\n\n")
    return "".join(kept)


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    """Each is whole by itself and ends with an empty line."""
    run, entries = document["run"], in_reading_order(document["verdicts"])
    verdicts = [stored_verdict(entry) for entry in entries]
    stand_in = has_stand_in(document)
    status = run.get("exit_status")
    yield f"## FCOS acceptance: {word_of(document)} (exit status {'unknown' if status is None else status})\n\n"
    if stand_in:
        yield "> [!CAUTION]\n> **STAND-IN: measured on the emulator; says nothing about hardware.**\n\n"
    if not_run := run.get("gates_not_run"):
        yield f"> [!WARNING]\n> **NO VERDICT: {not_run} selected tests did not run.**\n\n"
    if unanswered := run.get("unanswered"):
        yield f"> [!WARNING]\n> **NO VERDICT: {unanswered} gates are missing, or were required and did not judge.**\n\n"
    if rows := verdict_rows(entries):
        yield table(("gate", "on", "limit", "measured", "verdict"), rows)
    red = [(entry, verdict) for entry, verdict in zip(entries, verdicts, strict=True) if not verdict.green]
    for entry, verdict in red[:_RED]:
        command = again(document, entry.get("test", ""))
        yield f"### {escaped(verdict.gate)} is {verdict.outcome.value}\n\n{_code(paragraph(verdict, again=command))}"
    stopped = causes(document["unjudged"])
    for cause in stopped[:_RED]:
        text = f"{cause.message}\n\nagain     {again(document, cause.tests[0])}"
        yield f"### {escaped(cause.sentence)}\n\n{_code(text)}"
    if more := max(len(red) - _RED, 0) + max(len(stopped) - _RED, 0):
        yield f"*{more} more red gates are in results.json.*\n\n"
    for record in document["evidence"]:
        if record["kind"] == "ladder" and isinstance(sentence := record["data"].get("sentence"), str):
            yield f"**{escaped(record['subject'])}**: {escaped(sentence)}\n\n"
    if roll := in_words(document.get("gates", ())):
        yield _folded("Gates that did not judge", "".join(f"- {escaped(line)}\n" for line in roll) + "\n")
    if worst := list(_worst(verdicts)):
        yield _folded("Worst numbers", table(("gate", "worst", "limit", "on", "where"), worst))
    yield _folded("Provenance", _code("\n".join(_provenance(document))))


def _worst(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, str, str, str]]:
    """For every limit the number that is furthest to its wrong side, and where; without those that are simply 0."""
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.limit:
            groups.setdefault((verdict.promise, verdict.measurement.name, verdict.limit.name), []).append(verdict)
    for (promise, name, _), members in groups.items():
        limit = members[0].limit
        assert limit  # by the grouping

        def order(verdict: Verdict, at_least: bool = limit.at_least) -> tuple[bool, float]:
            value = verdict.measurement.value
            return value == value, value if at_least else -value  # what is not a number comes first

        worst = min(members, key=order)
        measured = worst.measurement
        if measured.where or not worst.green:
            value, bound = close_pair(measured.value, limit.bound)
            sign = "≥" if limit.at_least else "≤"
            unit = measured.unit
            yield f"{promise}: {name}", f"{value} {unit}", f"{sign} {bound} {limit.unit}", worst.subject, measured.where


def _provenance(document: Mapping[str, Any]) -> Iterator[str]:
    run, environment = document["run"], document["environment"]
    device = environment.get("device") or {}
    yield f"command   {shlex.join(run.get('command', []))}"
    yield f"started   {run.get('started_at', 'unknown')}, {run.get('seconds', '?')} s, {run.get('gates', '?')} gates"
    if device:
        yield "device    " + ", ".join(f"{name} {value}" for name, value in device.items())
    yield f"machine   {environment.get('platform', 'unknown')}, Python {environment.get('python', 'unknown')}"
    yield "packages  " + ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items())
    for name, value in run.get("settings", {}).items():
        if value not in (None, "", [], False):
            yield f"setting   {name} = {value}"
    for artifact in document["artifacts"]:
        facts = artifact["provenance"]
        of = ", ".join(f"{name} {facts[name]}" for name in _OF_AN_ARTIFACT if name in facts)
        yield f"{artifact['kind']:<9} {artifact['key']}" + f" ({of})" * bool(of)
        yield from (f"          {sha256}  {name}" for name, sha256 in artifact["files"].items())


_OF_AN_ARTIFACT = ("batch", "dynamic_batches", "precision_mode", "soc_version", "cann", "cann_version", "checkpoint")


def escaped(text: str) -> str:
    """Text that Markdown and HTML take as nothing but text, in one line."""
    line = html.escape(printable(" ".join(text.split()), 1000), quote=False)
    return re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text, the first rows of it; a blank line ends it."""
    kept = list(rows)
    lines = [header, ("---",) * len(header), *(tuple(map(escaped, row)) for row in kept[:_ROWS])]
    more = f"\n*{len(kept) - _ROWS} more rows are in results.json.*\n" * (len(kept) > _ROWS)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + more + "\n"


def _code(text: str) -> str:
    text = printable(text, 20_000)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 3)
    return f"{fence}text\n{text}\n{fence}\n\n"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}</details>\n\n"
