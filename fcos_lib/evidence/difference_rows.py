"""The differences between two runs in words: sections of rows, for the verb `diff` and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fcos_lib.evidence.difference import Difference, Turn
from fcos_lib.judge.change import Move
from fcos_lib.judge.verdict import Verdict, close_pair

_LONGEST = 48
"""Characters of a cell of provenance."""

TURNED = "another verdict"
"""The title of the section about verdicts that are others."""
Section = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, header and rows."""


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
    ratio = f" ({100 * (now / then - 1):+.2g} %)" if then > 0 and unit != "%" else ""
    return _name(move), *close_pair(then, now), f"{now - then:+.3g} {unit}{ratio}", move.held_against


def _name(move: Move) -> str:
    limit = move.after.limit
    return move.after.gate + (f" ({limit.name})" if limit else "")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
