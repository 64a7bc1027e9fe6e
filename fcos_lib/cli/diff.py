"""`diff`: what moved between two stored runs, beyond noise or not, and what they stood on."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence

from fcos_lib.cli.terminal import say
from fcos_lib.errors import UsageError
from fcos_lib.evidence.difference import Difference, difference
from fcos_lib.evidence.results import read_results
from fcos_lib.files import one_line
from fcos_lib.judge.change import Move
from fcos_lib.judge.verdict import close_pair

_LONGEST = 48
"""Characters of a cell of provenance."""


def diff(args: Namespace) -> int:
    """Print what is different; 1 if something moved beyond noise, 0 if not."""
    documents = [read_results(path) for path in (args.before, args.after)]
    found = difference(*documents)
    if not (found.moves or found.only_a or found.only_b or found.unjudged):
        raise UsageError(f"neither {args.before} nor {args.after} holds a measurement", "pass runs in which gates ran")
    if args.json:
        print(json.dumps(found.as_dict(), indent=1))
        return int(found.something)
    for letter, path, document, stand_in in zip(
        "AB", (args.before, args.after), documents, found.stand_in, strict=True
    ):
        started = document["run"].get("started_at", "at an unknown time")
        say(one_line(f"{letter}  {path}, {started}" + ", STAND-IN: measured on the emulator" * stand_in))
    for line in _lines(found):
        say(one_line(line))
    return int(found.something)


def _lines(found: Difference) -> Iterator[str]:
    yield from _section("another verdict", ("gate", "A", "B"), [_outcomes(move) for move in found.turned])
    header = ("gate", "A", "B", "change", "held against")
    yield from _section("moved beyond noise", header, [_numbers(move) for move in found.beyond])
    within = [move for move in found.moves if not move.beyond and not move.same]
    yield from _section("moved within noise", header, [_numbers(move) for move in within])
    for letter, only in (("A", found.only_a), ("B", found.only_b)):
        yield from _section(f"only in {letter}", ("gate", "verdict"), [(one.gate, one.outcome.value) for one in only])
    yield from _section("failed before it could judge", ("test", "A", "B"), found.unjudged)
    cells = [(what, _short(a), _short(b)) for what, a, b in found.provenance]
    yield from _section("stood on something else", ("what", "A", "B"), cells)
    yield ""
    if found.pictures is None:
        yield "pictures: at least one of the runs has no evidence about them"
    for turn in found.pictures or ():
        changes = [f"{sign}{count} {words}" for sign, counts in (("-", turn.gone), ("+", turn.new)) for words, count in counts.items()]  # fmt: skip
        shown = [f"among the worst only in {turn.only_in}"] * bool(turn.only_in)
        yield f"picture {turn.picture} [{turn.subject}]: " + "; ".join(shown + changes)
    same = sum(move.same for move in found.moves)
    yield (
        f"{len(found.moves)} measurements: {same} the same, {len(within)} moved within noise, {len(found.beyond)} beyond; "
        f"{len(found.turned)} verdicts changed; {len(found.only_a)} only in A, {len(found.only_b)} only in B; "
        f"exit status {int(found.something)}"
    )


def _outcomes(move: Move) -> tuple[str, ...]:
    return _name(move), move.before.outcome.value, move.after.outcome.value


def _numbers(move: Move) -> tuple[str, ...]:
    one, other = move.before.measurement, move.after.measurement
    before, after = close_pair(one.value, other.value)
    ratio = f" ({100 * (other.value / one.value - 1):+.2g} %)" if one.value > 0 and other.unit != "%" else ""
    return _name(move), before, after, f"{other.value - one.value:+.3g} {other.unit}{ratio}", move.held_against


def _name(move: Move) -> str:
    limit = move.after.limit
    return move.after.gate + (f" ({limit.name})" if limit else "")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _section(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """A heading and aligned columns; nothing without rows."""
    if not rows:
        return
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    yield ""
    yield title
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
