"""Verbs that show stored runs: one as Markdown or as a page, and what moved between two."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from fcos_lib.cli.terminal import say
from fcos_lib.errors import UsageError
from fcos_lib.evidence.difference import Difference, difference
from fcos_lib.evidence.difference_words import in_words, sections, sentence
from fcos_lib.evidence.markdown import MOST_BYTES
from fcos_lib.evidence.markdown import summary as markdown
from fcos_lib.evidence.page import NAME, write_page_of
from fcos_lib.evidence.plain_text import aligned
from fcos_lib.evidence.results import read_results
from fcos_lib.files import one_line, printable


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
    for title, header, rows in sections(changes):
        yield from _section(title, header, rows)
    yield ""
    if changes.pictures is None:
        yield "pictures: at least one of the runs has no evidence about them"
    for turn in changes.pictures or ():
        yield f"picture {turn.picture} [{turn.subject}]: {in_words(turn)}"
    only = f"{len(changes.only_a)} only in A, {len(changes.only_b)} only in B"
    yield f"{sentence(changes)}; {only}; exit status {int(changes.something)}"


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A heading and aligned columns."""
    yield from ("", title, *aligned([header, *rows], "  "))
