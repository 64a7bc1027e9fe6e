"""What did the gates say? Red numbers first and in full, then all others in a line each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fcos_lib.evidence.page.html import (
    Markup,
    command,
    group_head,
    minus,
    outcome,
    plural,
    row,
    slug,
    table,
    tag,
    term,
    together,
)
from fcos_lib.evidence.reading import again, stored_verdict
from fcos_lib.evidence.results import in_reading_order, verdict_rows
from fcos_lib.judge.roll_call import in_words
from fcos_lib.judge.verdict import Verdict, paragraph

_WORDS = {0: "PASS", 1: "FAIL", 7: "NO VERDICT", 8: "INFRA"}
_OPEN, _MOST = 4, 200
"""Red numbers that are shown unfolded, and that are shown at all."""
_TELLING = (
    "contract",
    "accuracy mAP difference",
    "consistency unexplained differences by",
    "consistency unexplained differences",
    "accuracy mAP",
    "consistency cosine of",
    "accuracy",
)
"""Of numbers that went red together those that say most come first; all others stay in reading order."""
_WHAT = {"FAIL": "failed", "INFRA": "met a machine that failed", "NO VERDICT": "could not be decided"}
_NAMES = {"because": "why this limit"}
_ORDER = ("FAIL", "INFRA", "NO VERDICT", "STAND-IN", "PASS")


def word_of(document: Mapping[str, Any], stand_in: bool) -> str:
    """The run in a word."""
    status = document["run"].get("exit_status")
    found = _WORDS.get(status, "STOPPED")
    return "STAND-IN" if found == "PASS" and stand_in else found


def headline(document: Mapping[str, Any], stand_in: bool) -> str:
    """The run in a sentence."""
    gates, not_run = int(document["run"].get("gates", 0)), int(document["run"].get("gates_not_run", 0))
    unanswered = int(document["run"].get("unanswered", 0))
    worst = _tests(document)
    if not worst and not not_run and not unanswered and gates:
        all_of_them = f"All {gates:,} tests are" if gates > 1 else "The test is"
        return f"{all_of_them} green{' on the emulator' * stand_in}"
    counts = {what: sum(word == named for word in worst.values()) for named, what in _WHAT.items()}
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    parts += [f"{not_run:,} did not run"] if not_run else []
    parts += [f"{plural(unanswered, 'gate')} that should have judged did not"] if unanswered else []
    if parts and gates:
        first, _, what = parts[0].partition(" ")
        parts[0] = f"{first} of {plural(gates, 'test')} {what}" if any(counts.values()) or not_run else parts[0]
    proofs = [str(one["data"].get("sentence", "")) for one in document["evidence"] if one["kind"] == "gateproof"]
    if not gates and any(proofs):
        return proofs[0]
    return ", ".join(parts) or "No test is red"


def _tests(document: Mapping[str, Any]) -> dict[str, str]:
    """Every test that is not green, and the worst that it came to; the worst first."""
    red = [(str(entry["test"]), str(entry["outcome"])) for entry in document["unjudged"]]
    red += [(str(entry.get("test", verdict.gate)), verdict.outcome.value) for entry, verdict in _red(document)]
    worst: dict[str, str] = {}
    for test, word in sorted(red, key=lambda pair: _ORDER.index(pair[1])):
        worst.setdefault(test, word)
    return worst


def section(document: Mapping[str, Any]) -> Markup:
    """All verdicts."""
    red, names = [*_red(document)], _class_names(document)
    cards = [_card(document, *pair, names, place < _OPEN) for place, pair in enumerate(red[:_MOST])]
    cards += [
        _unjudged(document, entry, len(cards) + place < _OPEN)
        for place, entry in enumerate(document["unjudged"][:_MOST])
    ]
    left = len(red) + len(document["unjudged"]) - len(cards)
    return together(
        _list_of_tests(document) if cards else None,
        cards,
        tag("p", f"{left} more are in results.json.") if left else None,
        _green(document),
        _roll(document),
    )


def _roll(document: Mapping[str, Any]) -> Markup | None:
    """What did not judge, and why."""
    lines = in_words(document.get("gates", ()))
    if not lines:
        return None
    return together(
        tag("p", "Gates that did not judge", class_="label"),
        tag("ul", [tag("li", line) for line in lines], class_="dim"),
    )


def _list_of_tests(document: Mapping[str, Any]) -> Markup:
    """Tests that are not green, with how many of their numbers are not."""
    lines, numbers = [], Counter(str(entry.get("test", "")) for entry in document["verdicts"])
    red = Counter(str(entry.get("test", "")) for entry, _ in _red(document))
    for test, word in [*_tests(document).items()][:_MOST]:
        count = f"{red[test]} of {plural(numbers[test], 'number')}" if red[test] else "no number"
        lines.append(tag("li", outcome(word), " ", tag("code", test), " ", tag("span", count, class_="dim")))
    return together(
        tag("p", "Tests that are not green", class_="label"),
        tag("ul", lines, class_="tests"),
        tag("p", "Their numbers, those that say most first", class_="label") if red else None,
    )


def _red(document: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Verdict]]:
    """What is not green: by outcome, then by how much it says."""

    def place(pair: tuple[Mapping[str, Any], Verdict]) -> tuple[int, int]:
        name = f"{pair[1].promise} {pair[1].measurement.name}"
        telling = (rank for rank, start in enumerate(_TELLING) if name.startswith(start))
        return _ORDER.index(pair[1].outcome.value), next(telling, len(_TELLING))

    pairs = [(entry, stored_verdict(entry)) for entry in in_reading_order(document["verdicts"])]
    return sorted((pair for pair in pairs if not pair[1].green), key=place)


def _class_names(document: Mapping[str, Any]) -> list[str]:
    """The classes of the run's contract."""
    for one in document["artifacts"]:
        contract = one["provenance"].get("contract")
        if isinstance(contract, dict) and isinstance(contract.get("classes"), list):
            return [str(name) for name in contract["classes"]]
    return []


def _card(
    document: Mapping[str, Any], entry: Mapping[str, Any], verdict: Verdict, names: Sequence[str], unfolded: bool
) -> Markup:
    test = entry.get("test", "")
    found = ((_NAMES.get(name, name), _named(text, names)) for name, text in _facts(paragraph(verdict, again="")))
    facts = [(name, minus(text)) for name, text in found if name != "again"]
    sentence = minus(verdict.sentence().removeprefix(f"{verdict.outcome.value}: "))
    return _folded(
        verdict.outcome.value,
        sentence,
        together(
            term(facts, "facts paragraph"),
            together(tag("p", "run it again", class_="label"), command(again(document, test))) if test else None,
        ),
        unfolded,
    )


def _named(text: str, names: Sequence[str]) -> str:
    """Classes by their names instead of the numbers that a device knows."""

    def name(found: re.Match[str]) -> str:
        label = int(found[1])
        return names[label] if label < len(names) else found[0]

    return re.sub(r"\blabel (\d{1,4})\b", name, text)


def _facts(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a paragraph below its first: what, and its value. A line without a name belongs to the one before."""
    name = ""
    for line in text.splitlines()[1:]:
        name = line[2:12].strip() if line[:2] == "  " and line[2:3].strip() else name
        yield name, line[12:].strip() if line[:2] == "  " else line


def _unjudged(document: Mapping[str, Any], entry: Mapping[str, Any], unfolded: bool) -> Markup:
    return _folded(
        entry["outcome"],
        f"{entry['test']} failed before it could judge",
        together(
            tag("pre", entry.get("message", ""), tabindex="0"),
            tag("p", "run it again", class_="label"),
            command(again(document, entry["test"])),
        ),
        unfolded,
    )


def _folded(word: str, sentence: str, content: Markup, unfolded: bool) -> Markup:
    return tag(
        "details",
        tag("summary", outcome(word), " ", tag("span", sentence, class_="sentence")),
        tag("div", content, class_="inside"),
        class_=f"card {slug(word)}",
        open=unfolded,
    )


def _green(document: Mapping[str, Any]) -> Markup:
    pairs = [(entry, stored_verdict(entry)) for entry in in_reading_order(document["verdicts"])]
    red = {(entry.get("test"), verdict.gate) for entry, verdict in pairs if not verdict.green}
    held = Counter((entry.get("test"), verdict.gate) for entry, verdict in pairs)
    green = [
        {
            **entry,
            "measurement": {
                **entry["measurement"],
                "name": _with_side(verdict, held[entry.get("test"), verdict.gate] > 1),
            },
        }
        for entry, verdict in pairs
        if verdict.green
        and (entry.get("test"), verdict.gate) not in red  # one that is held against two limits is red if one side is
    ]
    judged = [entry for entry in green if entry["limit"]]
    recorded = [entry for entry in green if not entry["limit"]]
    return together(
        _rows(f"{plural(len(judged), 'number')} within their limits", judged) if judged else None,
        tag(
            "details",
            tag("summary", f"{plural(len(recorded), 'number')} recorded without a limit"),
            _rows("Recorded, for the history", recorded),
            class_="quiet",
        )
        if recorded
        else None,
    )


def _with_side(verdict: Verdict, several: bool) -> str:
    """A number's name; which of its limits is meant, if it is held against several."""
    side = verdict.limit.name.rpartition(".")[2] if verdict.limit and several else ""
    return f"{verdict.measurement.name} ({side})" if side else verdict.measurement.name


def _rows(caption: str, entries: Sequence[Mapping[str, Any]]) -> Markup:
    rows, last = [], ""
    for gate, on, limit, measured, word in verdict_rows(entries):
        promise, _, name = gate.partition(": ")
        if promise != last:
            rows.append(group_head(promise, 5))
            last = promise
        rows.append(row(name, on, minus(measured), minus(limit), outcome(word, "small")))
    return table(caption, ("number", "on", "measured", "limit", "verdict"), rows, "verdicts")
