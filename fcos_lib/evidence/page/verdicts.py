"""The verdicts of a run as the page shows them: red numbers first and in full, then all others in a line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fcos_lib.evidence.deciding import WORST_FIRST
from fcos_lib.evidence.page.words import minus, plural, slug
from fcos_lib.evidence.plain_text import with_class_names
from fcos_lib.evidence.results import Cause, again, causes, in_reading_order, stored_verdict, verdict_rows
from fcos_lib.judge.roll_call import in_words
from fcos_lib.judge.verdict import Outcome, Verdict, facts_of

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


def headline(document: Mapping[str, Any], stand_in: bool) -> str:
    """The run in a sentence."""
    gates, not_run = int(document["run"].get("gates", 0)), int(document["run"].get("gates_not_run", 0))
    unanswered = int(document["run"].get("unanswered", 0))
    worst = _tests(document)
    if not worst and not not_run and not unanswered and gates:
        all_of_them = f"All {gates:,} tests are" if gates > 1 else "The test is"
        return f"{all_of_them} green{' on the emulator' if stand_in else ''}"
    counts = {what: sum(word == named for word in worst.values()) for named, what in _WHAT.items()}
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    parts += [f"{not_run:,} did not run"] if not_run else []
    parts += [f"{plural(unanswered, 'gate')} that should have judged did not"] if unanswered else []
    if parts and gates:
        first, _, what = parts[0].partition(" ")
        parts[0] = f"{first} of {plural(gates, 'test')} {what}" if any(counts.values()) or not_run else parts[0]
    proofs = [str(entry["data"].get("sentence", "")) for entry in document["evidence"] if entry["kind"] == "gateproof"]
    if not gates and any(proofs):
        return proofs[0]
    return ", ".join(parts) or "No test is red"


def _tests(document: Mapping[str, Any]) -> dict[str, str]:
    """Every test that is not green, and the worst that it came to; the worst first."""
    red = [(str(entry["test"]), str(entry["outcome"])) for entry in document["unjudged"]]
    red += [(str(entry.get("test", verdict.gate)), verdict.outcome.value) for entry, verdict in _red(document)]
    worst: dict[str, str] = {}
    for test, word in sorted(red, key=lambda pair: WORST_FIRST.index(Outcome(pair[1]))):
        worst.setdefault(test, word)
    return worst


def verdicts(document: Mapping[str, Any]) -> dict[str, Any]:
    """All verdicts: tests that are not green, a card for each red number, and the rows of all others."""
    red, names = [*_red(document)], _class_names(document)
    cards = [_card(document, *pair, names) for pair in red[:_MOST]]
    stopped = causes(document["unjudged"])
    cards += [_stopped(document, cause) for cause in stopped[:_MOST]]
    seen = set[str]()
    for card in cards:  # a number that was judged twice has one id, that of the first
        card["id"] = "" if card["id"] in seen else card["id"]
        seen.add(card["id"])
    judged, recorded = _green(document)
    return {
        "tests": [*_list_of_tests(document)] if cards else [],
        "any_red": bool(red),
        "cards": cards,
        "open": _OPEN,
        "left": len(red) + len(stopped) - len(cards),
        "count_judged": len(judged),
        "judged": verdict_rows(judged),
        "count_recorded": len(recorded),
        "recorded": verdict_rows(recorded),
        "roll": in_words(document.get("gates", ())),
    }


def anchor_of_verdict(verdict: Verdict) -> str:
    """The id of a red number's card in the list of verdicts."""
    return f"red-{slug(f'{verdict.gate} {verdict.limit.name if verdict.limit else verdict.lacks}')}"


def anchor_of_cause(cause: Cause) -> str:
    """The id of the card of what stopped tests."""
    return f"red-{slug(f'{cause.outcome} {cause.tests[0]}')}"


def _list_of_tests(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Tests that are not green: what they came to, and how many of their numbers are not."""
    numbers = Counter(str(entry.get("test", "")) for entry in document["verdicts"])
    red = Counter(str(entry.get("test", "")) for entry, _ in _red(document))
    for test, word in [*_tests(document).items()][:_MOST]:
        yield word, test, f"{red[test]} of {plural(numbers[test], 'number')}" if red[test] else "no number"


def _red(document: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Verdict]]:
    """What is not green: by outcome, then by how much it says."""

    def order(pair: tuple[Mapping[str, Any], Verdict]) -> tuple[int, int]:
        name = f"{pair[1].promise} {pair[1].measurement.name}"
        telling = (rank for rank, start in enumerate(_TELLING) if name.startswith(start))
        return WORST_FIRST.index(pair[1].outcome), next(telling, len(_TELLING))

    pairs = [(entry, stored_verdict(entry)) for entry in in_reading_order(document["verdicts"])]
    return sorted((pair for pair in pairs if not pair[1].green), key=order)


def _class_names(document: Mapping[str, Any]) -> list[str]:
    """The classes of the run's contract."""
    for artifact in document["artifacts"]:
        contract = artifact["provenance"].get("contract")
        if isinstance(contract, dict) and isinstance(contract.get("classes"), list):
            return [str(name) for name in contract["classes"]]
    return []


def _card(
    document: Mapping[str, Any], entry: Mapping[str, Any], verdict: Verdict, names: Sequence[str]
) -> dict[str, Any]:
    test, word = entry.get("test", ""), verdict.outcome.value
    return {
        "id": anchor_of_verdict(verdict),
        "word": word,
        "sentence": minus(verdict.sentence().removeprefix(f"{word}: ")),
        "facts": [
            (_NAMES.get(name, name), minus(with_class_names(line.strip(), names)))
            for name, text in facts_of(verdict)
            for line in text.splitlines() or [""]
        ],
        "message": "",
        "again": again(document, test) if test else "",
    }


def _stopped(document: Mapping[str, Any], cause: Cause) -> dict[str, Any]:
    return {
        "id": anchor_of_cause(cause),
        "word": cause.outcome,
        "sentence": cause.sentence.removeprefix(f"{cause.outcome}: "),
        "facts": [],
        "message": cause.message or " ",
        "again": again(document, cause.tests[0]),
    }


def _green(document: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Entries that were held to a limit, and those that were only recorded.

    A number that is held against two limits is red if one side is, and else says which side is meant.
    """
    pairs = [(entry, stored_verdict(entry)) for entry in in_reading_order(document["verdicts"])]
    red = {(entry.get("test"), verdict.gate) for entry, verdict in pairs if not verdict.green}
    held = Counter((entry.get("test"), verdict.gate) for entry, verdict in pairs)
    judged: list[Mapping[str, Any]] = []
    recorded: list[Mapping[str, Any]] = []
    for entry, verdict in pairs:
        key = entry.get("test"), verdict.gate
        if verdict.green and key not in red:
            name = _with_side(verdict, held[key] > 1)
            named = {**entry, "measurement": {**entry["measurement"], "name": name}}
            (judged if entry["limit"] else recorded).append(named)
    return judged, recorded


def _with_side(verdict: Verdict, several: bool) -> str:
    """A number's name; which of its limits is meant, if it is held against several."""
    side = verdict.limit.name.rpartition(".")[2] if verdict.limit and several else ""
    return f"{verdict.measurement.name} ({side})" if side else verdict.measurement.name
