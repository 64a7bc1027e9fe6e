"""The differences between two runs: numbers, verdicts, gates, provenance and pictures, from their `results.json` alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct, to_builtins

from fcos_lib.evidence.results import has_stand_in, stored_verdict
from fcos_lib.judge.change import Move, moved
from fcos_lib.judge.verdict import Verdict

FORMAT = 1
"""Of `Difference.as_dict`."""
_ABSENT = "absent"


class Turn(Struct, frozen=True):
    """A picture whose differences to the reference are others, or that only one run shows among its worst."""

    subject: str
    picture: str
    gone: Mapping[str, int]
    """Differences by kind, cause and side that only the first run has, and how many."""
    new: Mapping[str, int]
    only_in: str = ""
    """`A` or `B` if the other run does not show the picture."""


@dataclass(frozen=True, slots=True)
class Difference:
    """All that is different between run A and run B."""

    moves: tuple[Move, ...]
    """Every number that both runs have, in the order of B."""
    only_a: tuple[Verdict, ...]
    only_b: tuple[Verdict, ...]
    unjudged: tuple[tuple[str, str, str], ...]
    """(test, in A, in B): gates that failed before they could judge in one run only, with what they came to."""
    provenance: tuple[tuple[str, str, str], ...]
    """(what, in A, in B)."""
    pictures: tuple[Turn, ...] | None
    """None if one of the runs has no evidence about pictures."""
    stand_in: tuple[bool, bool]

    @property
    def turned(self) -> tuple[Move, ...]:
        """Whose verdict is another one."""
        return tuple(move for move in self.moves if move.turned)

    @property
    def beyond(self) -> tuple[Move, ...]:
        """Whose number moved by more than noise."""
        return tuple(move for move in self.moves if move.beyond)

    @property
    def something(self) -> bool:
        """Whether anything moved beyond noise. Gates that only one run has count: what is not there cannot be the same."""
        return bool(self.turned or self.beyond or self.only_a or self.only_b or self.unjudged)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "format": FORMAT,
            "something_moved": self.something,
            "stand_in": {"a": self.stand_in[0], "b": self.stand_in[1]},
            "measurements": [_as_dict(move) for move in self.moves],
            "only_a": [_side(verdict) for verdict in self.only_a],
            "only_b": [_side(verdict) for verdict in self.only_b],
            "unjudged": [{"test": test, "a": a, "b": b} for test, a, b in self.unjudged],
            "provenance": [{"what": what, "a": a, "b": b} for what, a, b in self.provenance],
            "pictures": to_builtins(self.pictures),
        }


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> Difference:
    """Run B against run A, both as `read_results` gives them."""
    before, after = _by_gate(a), _by_gate(b)
    shown = _pictures(a), _pictures(b)
    return Difference(
        moves=tuple(moved(before[key], verdict) for key, verdict in after.items() if key in before),
        only_a=tuple(verdict for key, verdict in before.items() if key not in after),
        only_b=tuple(verdict for key, verdict in after.items() if key not in before),
        unjudged=tuple(_differing(_unjudged(a), _unjudged(b))),
        provenance=(
            *_differing(dict(_provenance(a)), dict(_provenance(b))),
            *(choice for choice in _differing(dict(_chosen(a)), dict(_chosen(b))) if _ABSENT not in choice[1:]),
        ),
        pictures=tuple(_turns(*shown)) if all(shown) else None,
        stand_in=(has_stand_in(a), has_stand_in(b)),
    )


def _by_gate(document: Mapping[str, Any]) -> dict[tuple[str, str, int], Verdict]:
    """Verdicts by gate and limit; what a run judged twice keeps its order."""
    verdicts: dict[tuple[str, str, int], Verdict] = {}
    seen = Counter[tuple[str, str]]()
    for entry in document["verdicts"]:
        verdict = stored_verdict(entry)
        gate, limit = verdict.gate, verdict.limit.name if verdict.limit else ""
        verdicts[gate, limit, seen[gate, limit]] = verdict
        seen[gate, limit] += 1
    return verdicts


def _unjudged(document: Mapping[str, Any]) -> dict[str, str]:
    return {entry["test"]: entry["outcome"] for entry in document["unjudged"]}


def _provenance(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a run stood on, flat."""
    environment = document["environment"]
    for name, value in (environment.get("device") or {}).items():
        yield f"device: {name}", _text(value)
    for name in ("python", "platform", "machine"):
        if name in environment:
            yield name, _text(environment[name])
    for name, value in environment.get("packages", {}).items():
        yield f"package: {name}", _text(value)
    for artifact in document["artifacts"]:
        facts = artifact["provenance"]
        of = facts.get("batches") or facts.get("dynamic_batches") or facts.get("batch")
        kind = artifact["kind"] + f" {_text(of)}" * bool(of)
        for name, sha256 in artifact["files"].items():
            yield f"{kind}: {name}", sha256[:12]
        for name, value in facts.items():
            yield f"{kind}: {name}", _text(value)


def _chosen(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """By what it was run and judged. Runs have different gates and come from different releases: only what both say counts."""
    for name, value in document["run"].get("settings", {}).items():
        yield f"setting: {name}", _text(value)
    for entry in document["verdicts"]:
        if limit := entry["limit"]:
            sign = "least" if limit["at_least"] else "most"
            yield f"limit: {limit['name']}", f"at {sign} {limit['bound']:g} {limit['unit']}"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value[:12] if len(value) == 64 else value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            yield name, a.get(name, _ABSENT), b.get(name, _ABSENT)


def _pictures(document: Mapping[str, Any]) -> dict[tuple[str, str], Counter[str]]:
    """The differences of the worst pictures by kind, cause and side, by (subject, name). Evidence has no fixed form."""
    pictures: dict[tuple[str, str], Counter[str]] = {}
    for record in document["evidence"]:
        if record["kind"] != "pictures":
            continue
        for picture in _records(record["data"].get("pictures")):
            name = str(picture.get("name", ""))
            words = (
                f"{difference.get('kind', '?')} ({difference.get('cause', '?')}), {difference.get('side', '?')}"
                for difference in _records(picture.get("differences"))
            )
            pictures[record["subject"], name] = Counter(words)
    return pictures


def _records(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _turns(a: Mapping[tuple[str, str], Counter[str]], b: Mapping[tuple[str, str], Counter[str]]) -> Iterator[Turn]:
    subjects = {subject for subject, _ in a} & {subject for subject, _ in b}
    for subject, picture in sorted({*a, *b}):
        key = subject, picture
        if subject not in subjects:
            continue
        before, after = a.get(key, Counter[str]()), b.get(key, Counter[str]())
        only_in = "" if key in a and key in b else "A" if key in a else "B"
        if before != after or only_in:
            yield Turn(subject, picture, dict(before - after), dict(after - before), only_in)


def _as_dict(move: Move) -> dict[str, Any]:
    limit = move.after.limit
    return {
        "gate": move.after.gate,
        "limit": limit.name if limit else None,
        "unit": move.after.measurement.unit,
        "a": _side(move.before),
        "b": _side(move.after),
        "same": move.same,
        "beyond_noise": move.beyond,
        "held_against": move.held_against,
    }


def _side(verdict: Verdict) -> dict[str, Any]:
    data = verdict.as_dict()
    kept = {name: data[name] for name in ("gate", "outcome", "stand_in")}
    measured = data["measurement"]
    return kept | {name: measured[name] for name in ("value", "unit", "n", "interval") if name in measured}
