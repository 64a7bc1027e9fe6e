"""What did the gates say? Red ones first and in full, then all others in a line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fcos_lib.evidence.page.html import Markup, command, outcome, plural, row, slug, table, tag, term, together
from fcos_lib.evidence.reading import again, stored_verdict
from fcos_lib.evidence.results import in_reading_order, verdict_rows
from fcos_lib.judge.verdict import Verdict, paragraph

_WORDS = {0: "PASS", 1: "FAIL", 7: "NO VERDICT", 8: "INFRA"}
_OPEN, _MOST = 4, 200
"""Red gates that are shown unfolded, and that are shown at all."""
_WHAT = {"FAIL": "failed", "INFRA": "met a machine that failed", "NO VERDICT": "could not be decided"}
_ORDER = ("FAIL", "INFRA", "NO VERDICT", "STAND-IN", "PASS")


def word_of(document: Mapping[str, Any], stand_in: bool) -> str:
    """The run in a word."""
    status = document["run"].get("exit_status")
    found = _WORDS.get(status, "STOPPED")
    return "STAND-IN" if found == "PASS" and stand_in else found


def headline(document: Mapping[str, Any], stand_in: bool) -> str:
    """The run in a sentence."""
    gates, not_run = int(document["run"].get("gates", 0)), int(document["run"].get("gates_not_run", 0))
    red = [(str(entry["test"]), str(entry["outcome"])) for entry in document["unjudged"]]
    red += [(str(entry.get("test", verdict.gate)), verdict.outcome.value) for entry, verdict in _red(document)]
    worst = {test: word for test, word in sorted(red, key=lambda pair: _ORDER.index(pair[1]), reverse=True)}
    if not worst and not not_run and gates:
        all_of_them = f"All {gates:,} gates are" if gates > 1 else "The gate is"
        return f"{all_of_them} green{' on the emulator' * stand_in}"
    counts = {what: sum(word == named for word in worst.values()) for named, what in _WHAT.items()}
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    parts += [f"{not_run:,} did not run"] if not_run else []
    if parts and gates:
        first, _, what = parts[0].partition(" ")
        parts[0] = f"{first} of {plural(gates, 'gate')} {what}"
    proofs = [str(one["data"].get("sentence", "")) for one in document["evidence"] if one["kind"] == "gateproof"]
    if not gates and any(proofs):
        return proofs[0]
    return ", ".join(parts) or "No gate is red"


def section(document: Mapping[str, Any]) -> Markup:
    """All verdicts."""
    red = [*_red(document)]
    cards = [_card(document, *pair, place < _OPEN) for place, pair in enumerate(red[:_MOST])]
    cards += [
        _unjudged(document, entry, len(cards) + place < _OPEN)
        for place, entry in enumerate(document["unjudged"][:_MOST])
    ]
    left = len(red) + len(document["unjudged"]) - len(cards)
    return together(
        cards,
        tag("p", f"{left} more are in results.json.") if left else None,
        _green(document),
    )


def _red(document: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Verdict]]:
    pairs = [(entry, stored_verdict(entry)) for entry in in_reading_order(document["verdicts"])]
    red = [pair for pair in pairs if not pair[1].green]
    return sorted(red, key=lambda pair: _ORDER.index(pair[1].outcome.value))


def _card(document: Mapping[str, Any], entry: Mapping[str, Any], verdict: Verdict, unfolded: bool) -> Markup:
    test = entry.get("test", "")
    facts = [pair for pair in _facts(paragraph(verdict, again="")) if pair[0] != "again"]
    sentence = verdict.sentence().removeprefix(f"{verdict.outcome.value}: ")
    return _folded(
        verdict.outcome.value,
        sentence,
        together(
            term(facts, "facts paragraph"),
            together(tag("p", "run it again", class_="label"), command(again(document, test))) if test else None,
        ),
        unfolded,
    )


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
    verdicts = in_reading_order(document["verdicts"])
    green = [entry for entry in verdicts if stored_verdict(entry).green]
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


def _rows(caption: str, entries: Sequence[Mapping[str, Any]]) -> Markup:
    rows, last = [], ""
    for gate, on, limit, measured, word in verdict_rows(entries):
        promise, _, name = gate.partition(": ")
        if promise != last:
            rows.append(tag("tr", tag("th", promise, scope="rowgroup", colspan=5), class_="group"))
            last = promise
        rows.append(row(name, on, measured, limit, outcome(word)))
    return table(caption, ("gate", "on", "measured", "limit", "verdict"), rows, "verdicts")


def kill_matrix(data: Mapping[str, Any]) -> Markup:
    """Which gate catches which seeded defect."""
    cases = data["cases"]
    gates = sorted({str(gate) for case in cases for gate in (*case["red"], *case["named"])})
    rows = []
    for case in cases:
        caught, named = set(map(str, case["red"])), set(map(str, case["named"]))
        cells = [
            tag("span", "●" if gate in caught else "○" if gate in named else "", class_="cell", role="img",
                aria_label="caught" if gate in caught else "expected, not caught" if gate in named else "no")
            if gate in caught | named else ""
            for gate in gates
        ]  # fmt: skip
        rows.append(
            row(
                str(case["name"]),
                str(case["what"]),
                str(case["verdict"]),
                *cells,
                kind="control" if case["control"] else "defect",
            )
        )
    only = [
        (str(gate), ", ".join(map(str, ids)) or "nothing: another gate catches all of it")
        for gate, ids in data.get("only", {}).items()
    ]
    return together(
        tag("p", "● is a gate that went red, ○ one that was expected to and did not."),
        table("Defects and the gates that caught them", ("case", "what is different", "verdict", *gates), rows, "matrix"),
        tag("details", tag("summary", "What only one gate catches"), term(only), class_="quiet") if only else None,
    )  # fmt: skip
