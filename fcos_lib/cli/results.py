"""Verbs that show stored runs: one as Markdown or as a page, and what moved between two."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from fcos_lib.cli.terminal import aligned, say
from fcos_lib.errors import UsageError
from fcos_lib.evidence.difference import Difference, difference
from fcos_lib.evidence.markdown import MOST_BYTES
from fcos_lib.evidence.markdown import summary as markdown
from fcos_lib.evidence.page import NAME, write_page_of
from fcos_lib.evidence.results import read_results
from fcos_lib.files import one_line, printable
from fcos_lib.judge.change import Move
from fcos_lib.judge.verdict import close_pair

_LONGEST = 48
"""Characters of a cell of provenance."""


def summary(args: Namespace) -> int:
    """Print the run as Markdown; at most 1 MiB, which is what GitHub takes as the summary of a step."""
    print(printable(markdown(read_results(args.results)), MOST_BYTES), end="")
    return 0


def page(args: Namespace) -> int:
    """Write the page, beside the results unless another path is given, and print where it is."""
    output: Path = args.output or args.results.with_name(NAME)
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output} is no .html", "name a file that a browser opens")
    write_page_of(args.results, output)
    print(output)
    return 0


def diff(args: Namespace) -> int:
    """Print what is different; 1 if something moved beyond noise, 0 if not."""
    documents = [read_results(path) for path in (args.before, args.after)]
    changes = difference(*documents)
    if not (changes.moves or changes.only_a or changes.only_b or changes.unjudged):
        raise UsageError(f"neither {args.before} nor {args.after} holds a measurement", "pass runs in which gates ran")
    if args.json:
        print(json.dumps(changes.as_dict(), indent=1))
        return int(changes.something)
    for letter, path, document, stand_in in zip(
        "AB", (args.before, args.after), documents, changes.stand_in, strict=True
    ):
        started = document["run"].get("started_at", "at an unknown time")
        by = ", STAND-IN: measured on the emulator" if stand_in else ""
        say(one_line(f"{letter}  {path}, {started}{by}"))
    for line in _lines(changes):
        say(one_line(line))
    return int(changes.something)


def _lines(changes: Difference) -> Iterator[str]:
    yield from _section("another verdict", ("gate", "A", "B"), [_outcomes(move) for move in changes.turned])
    header = ("gate", "A", "B", "change", "held against")
    yield from _section("moved beyond noise", header, [_numbers(move) for move in changes.beyond])
    within = [move for move in changes.moves if not move.beyond and not move.same]
    yield from _section("moved within noise", header, [_numbers(move) for move in within])
    for letter, only in (("A", changes.only_a), ("B", changes.only_b)):
        yield from _section(
            f"only in {letter}", ("gate", "verdict"), [(verdict.gate, verdict.outcome.value) for verdict in only]
        )
    yield from _section("failed before it could judge", ("test", "A", "B"), changes.unjudged)
    cells = [(what, _short(a), _short(b)) for what, a, b in changes.provenance]
    yield from _section("stood on something else", ("what", "A", "B"), cells)
    yield ""
    if changes.pictures is None:
        yield "pictures: at least one of the runs has no evidence about them"
    for turn in changes.pictures or ():
        counted = [f"{sign}{count} {words}" for sign, counts in (("-", turn.gone), ("+", turn.new)) for words, count in counts.items()]  # fmt: skip
        shown = [f"among the worst only in {turn.only_in}"] if turn.only_in else []
        yield f"picture {turn.picture} [{turn.subject}]: " + "; ".join(shown + counted)
    same = sum(move.same for move in changes.moves)
    yield (
        f"{len(changes.moves)} measurements: {same} the same, {len(within)} moved within noise, {len(changes.beyond)} beyond; "
        f"{len(changes.turned)} verdicts changed; {len(changes.only_a)} only in A, {len(changes.only_b)} only in B; "
        f"exit status {int(changes.something)}"
    )


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


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A heading and aligned columns; nothing without rows."""
    if rows:
        yield from ("", title, *aligned([header, *rows], "  "))
