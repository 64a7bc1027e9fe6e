"""Tables in words: the differences of two runs, and the numbers of one or two result files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcos_lib.evidence.difference import Difference, Turn
from fcos_lib.evidence.markdown import escaped, table
from fcos_lib.files import one_line
from fcos_lib.judge.change import Move
from fcos_lib.judge.verdict import Verdict, close_pair

_LONGEST = 48
"""Characters of a cell of provenance."""

TURNED = "another verdict"
"""The title of the section about verdicts that are others."""
Section = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, header and rows."""
_CLASSES = 5
"""Categories that are listed of each, the most and the least."""
_ROWS = Sequence[Sequence[str]]


def sections(changes: Difference, runs: tuple[str, str] = ("A", "B")) -> list[Section]:
    """What is different, what says most first; sections without rows are left out. `runs` names the two of them."""
    return [section for section in _sections(changes, runs) if section[2]]


def sentence(changes: Difference) -> str:
    """How many numbers moved and how far."""
    same = sum(move.same for move in changes.moves)
    return (
        f"{len(changes.moves)} measurements: {same} the same, {len(_within(changes))} moved within noise, "
        f"{len(changes.beyond)} beyond; {len(changes.turned)} verdicts changed"
    )


def in_words(turn: Turn, runs: tuple[str, str] = ("A", "B")) -> str:
    """What became of the differences that a picture shows."""
    counted = [
        f"{sign}{count} {words}"
        for sign, counts in (("-", turn.gone), ("+", turn.new))
        for words, count in counts.items()
    ]
    only = dict(zip("AB", runs, strict=True)).get(turn.only_in)
    return "; ".join([f"among the worst only in {only}"] * bool(only) + counted)


def _sections(changes: Difference, runs: tuple[str, str]) -> Iterator[Section]:
    header = ("gate", *runs, "change", "held against")
    yield TURNED, ("gate", *runs), [_outcomes(move) for move in changes.turned]
    yield "moved beyond noise", header, [_numbers(move) for move in changes.beyond]
    yield "moved within noise", header, [_numbers(move) for move in _within(changes)]
    for run, only in zip(runs, (changes.only_a, changes.only_b), strict=True):
        yield f"only in {run}", ("gate", "verdict"), [_alone(verdict) for verdict in only]
    yield "failed before it could judge", ("test", *runs), list(changes.unjudged)
    cells: Sequence[tuple[str, ...]] = [(what, _short(a), _short(b)) for what, a, b in changes.provenance]
    yield "stood on something else", ("what", *runs), list(cells)


def _within(changes: Difference) -> list[Move]:
    return [move for move in changes.moves if not move.beyond and not move.same]


def _alone(verdict: Verdict) -> tuple[str, ...]:
    return verdict.gate, verdict.outcome.value


def _outcomes(move: Move) -> tuple[str, ...]:
    return _name(move), move.before.outcome.value, move.after.outcome.value


def _numbers(move: Move) -> tuple[str, ...]:
    then, now, unit = move.before.measurement.value, move.after.measurement.value, move.after.measurement.unit
    ratio = _percent(100 * (now / then - 1)) if then > 0 and unit != "%" else ""
    return _name(move), *close_pair(then, now), f"{now - then:+.3g} {unit}{ratio}", move.held_against


def _percent(change: float) -> str:
    """A change in percent; empty for more than a thousand, which says less than the two numbers."""
    return f" ({change:+{'.0f' if abs(change) >= 99.5 else '.2g'}} %)" if abs(change) < 1000 else ""


def _name(move: Move) -> str:
    limit = move.after.limit
    return move.after.gate + (f" ({limit.name})" if limit else "")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


@dataclass(frozen=True, slots=True)
class Compared:
    """A document as sentences and tables, in reading order."""

    heads: list[str]
    tables: list[tuple[str, _ROWS]]
    """Title and rows, the header first."""
    sentences: list[str]

    def markdown(self) -> str:
        """For the page of a CI job."""
        tables = [
            part for title, (header, *rows) in self.tables for part in (f"**{title}**", table(header, rows).rstrip())
        ]
        return "\n\n".join([*map(escaped, self.heads), *tables, *map(escaped, self.sentences)])


def evaluation(document: Mapping[str, Any]) -> Compared:
    """Of `evaluate --detections`."""
    return Compared(
        [*_heads(document, ("detections",))], [("COCO's numbers", _number_rows(document))], [*_ruler(document)]
    )


def comparison(document: Mapping[str, Any]) -> Compared:
    """Of `compare`."""
    return Compared([*_heads(document, ("a", "b"))], [*_tables(document)], [*_sentences(document)])


def _heads(document: Mapping[str, Any], sides: Sequence[str]) -> Iterator[str]:
    about = document["annotations"]
    for side in sides:
        of_side = document[side]
        name = f"{side.upper()}  " if len(side) == 1 else ""
        yield one_line(
            f"{name}{of_side['file']}: {of_side['detections']:,} detections, "
            f"{of_side['empty_pictures']:,} of {about['pictures']:,} pictures without any"
        )
    yield one_line(
        f"annotations {about['file']}: {about['pictures']:,} pictures, {about['objects']:,} objects, {about['categories']:,} categories"
    )


def _number_rows(document: Mapping[str, Any]) -> _ROWS:
    rows = [
        (name, f"{entry['value']:.4f}", f"{entry['low']:.4f} to {entry['high']:.4f}", f"{entry['n']:,}")
        for name, entry in document["numbers"].items()
    ]
    return [("number", "value", "95 % interval", "pictures with objects"), *rows]


def _ruler(document: Mapping[str, Any]) -> Iterator[str]:
    if "pycocotools" in document:
        distance = document["distance_from_pycocotools"]
        which = "the same" if distance <= document["distance_allowed"] else "OTHER NUMBERS"
        yield f"pycocotools computes {which}; the largest distance of the twelve is {distance:.1e}"


def _tables(document: Mapping[str, Any]) -> Iterator[tuple[str, _ROWS]]:
    header = ("A", "B", "B - A", "95 % interval", "pictures with objects")
    yield "COCO's numbers", [("number", *header), *(_row(name, entry) for name, entry in document["numbers"].items())]
    per_class = sorted(document["per_class"].items(), key=lambda item: item[1]["value"])
    if len(per_class) > 2 * _CLASSES:
        per_class = per_class[:_CLASSES] + per_class[-_CLASSES:]
    rows = [(*_row(name, entry), "yes" if entry["certain"] else "") for name, entry in per_class]
    yield "AP of the categories that moved most", [("category", *header, "beyond chance among all"), *rows]
    kinds = [
        (name, f"{kind['a']:.4f}", f"{kind['b']:.4f}", f"{kind['b'] - kind['a']:+.4f}")
        for name, kind in document["error_types"].items()
    ]
    yield "AP50 that each kind of error costs", [("error", "A", "B", "B - A"), *kinds]
    deciding = [
        (
            picture["file_name"] or str(picture["id"]), f"{picture['share']:+.5f}",
            "{} to {}".format(*picture["right"]), "{} to {}".format(*picture["wrong"]),
        )
        for picture in document["pictures"]["deciding"]
    ]  # fmt: skip
    if deciding:
        yield "pictures that decide it", [("picture", "of B - A", "objects found", "wrong detections"), *deciding]


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    interval = f"{entry['low']:+.4f} to {entry['high']:+.4f}"
    return name, f"{entry['a']:.4f}", f"{entry['b']:.4f}", f"{entry['value']:+.4f}", interval, f"{entry['n']:,}"


def _sentences(document: Mapping[str, Any]) -> Iterator[str]:
    pictures, verdict = document["pictures"], document["verdict"]
    share = 100 / max(1, pictures["count"])
    yield (
        f"pictures: {pictures['better'] * share:.1f} % better ({pictures['better']:,}), {pictures['worse'] * share:.1f} % worse "
        f"({pictures['worse']:,}), {pictures['unmoved'] * share:.1f} % neither ({pictures['unmoved']:,})"
    )
    if verdict:
        measured, limit = verdict["measurement"], verdict["limit"]
        low, high = measured.get("interval") or (0.0, 0.0)
        why = {
            "PASS": "and all of the interval is",
            "FAIL": "and the whole interval is below",
            "NO VERDICT": "the limit lies inside the interval; more pictures would tell"
            if measured["n"]
            else ("neither file holds a detection" if document["numbers"] else "no object counts"),
        }[verdict["outcome"]]
        yield (
            f"{verdict['outcome']}: mAP of B - A is {measured['value']:+.4f} ({low:+.4f} to {high:+.4f}), "
            f"at least {limit['bound']:+g} is asked for, {why}"
        )
