"""The evidence page: one HTML file for people, from `results.json` alone, which needs nothing else to be read.

It opens from a mail: no request leaves it, which its content security policy enforces, and without scripts only copying and
enlarging are missing. Nothing is computed here; evidence that cannot be drawn says so and hides nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from markupsafe import Markup

from fcos_lib.evidence.earlier import EARLIER, SINCE
from fcos_lib.evidence.page import figures
from fcos_lib.evidence.page.cards import cards, groups_of
from fcos_lib.evidence.page.drop import look_next, moved
from fcos_lib.evidence.page.pictures import Jpegs, pictures
from fcos_lib.evidence.page.verdicts import headline, verdicts
from fcos_lib.evidence.page.words import asset, slug, templates
from fcos_lib.evidence.results import has_stand_in, read_results, word_of
from fcos_lib.files import write_whole

NAME = "evidence.html"
MOST_BYTES = 10 << 20
"""Of a page: what mail servers take."""
_FOR_PICTURES = 8 << 20
_NEVER_LARGE = ("left_out", EARLIER)
"""Evidence that takes little room on the page, however much there is of it."""
STAND_IN = "Measured on the emulator. It says nothing about hardware."
_KINDS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "Stages": {"ladder": figures.ladder, "error_types": figures.error_types, "look": look_next},
    "Layers": {"layers": figures.layers},
    "Accuracy": {
        "moved": moved,
        "classes": figures.classes,
        "deciding": figures.deciding,
        "precision_recall": figures.precision_recall,
    },
    "Scores and boxes": {"scatter": figures.scatter, "before_nms": figures.before_nms, "shifts": figures.shifts},
    "Throughput": {"throughput": figures.throughput},
    "Proof of the gates": {"gateproof": figures.gateproof},
}
"""What makes a kind of evidence ready to be drawn, by chapter in reading order; kind and macro have the same name."""

_Evidence = Mapping[str, Sequence[tuple[str, Any]]]
"""(subject, data) by kind, in the order of the file."""
_Parts = list[list[tuple[str, Markup]]]
"""What stands side by side in a chapter, each by subject."""


def write_page_of(results: Path, output: Path) -> None:
    """Draw a stored run; `UsageError` if it is no `results.json`, `OSError` if the page cannot be written."""
    page = render(read_results(results))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, page.encode())


def render(document: Mapping[str, Any], room: int = _FOR_PICTURES) -> str:
    """The page of a run as `read_results` gives it, at most `MOST_BYTES` of UTF-8, at most `room` of them for pictures."""
    page = _Page(document, Jpegs(room)).html()
    excess = len(page.encode()) - MOST_BYTES
    if excess > 0 and room > 0:
        return render(document, max(room - excess - 1000, 0))
    if excess > 0 and any(entry["kind"] not in _NEVER_LARGE for entry in document["evidence"]):
        return render({**document, "evidence": _lighter(document["evidence"])}, room)
    return page


def _lighter(evidence: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Evidence without its largest entry, which is named instead."""
    largest = max(evidence, key=lambda entry: (entry["kind"] not in _NEVER_LARGE, len(str(entry))))
    text = f"{largest['kind']}: it would make this page larger than {MOST_BYTES >> 20} MiB"
    instead = {"kind": "left_out", "subject": largest["subject"], "data": {"text": text}}
    return [instead if entry is largest else entry for entry in evidence]


class _Page:
    """The page of one run: its chapters, each by a template of the same name."""

    def __init__(self, document: Mapping[str, Any], jpegs: Jpegs) -> None:
        self._document, self._jpegs = document, jpegs
        self._stand_in = has_stand_in(document)
        evidence: dict[str, list[tuple[str, Any]]] = {}
        for entry in document["evidence"]:
            evidence.setdefault(entry["kind"], []).append((entry["subject"], entry["data"]))
        levels: dict[str, list[Any]] = {}
        for subject, data in evidence.get("levels", ()):
            levels.setdefault(subject, []).append(data)
        # what several gates say of the levels is brought together, and shown in two tables
        evidence["before_nms"] = evidence["shifts"] = [*levels.items()]
        evidence["moved"] = [("", (document, accuracy))] if (accuracy := evidence.get("classes")) else []
        layers = dict(reversed(evidence.get("layers", [])))
        ladders = evidence.get("ladder", [])[:1]
        evidence["look"] = [(subject, (document, subject, data, layers.get(subject))) for subject, data in ladders]
        self._evidence: _Evidence = evidence

    def html(self) -> str:
        """All of it."""
        document, word = self._document, word_of(self._document)
        about = document["run"].get("about", "")
        listed = verdicts(document)
        chapters = [(name, parts) for name, parts in self._chapters(listed) if parts]
        reached = [slug(name) for name, _ in chapters]
        run = {
            "title": f"{'STAND-IN ' if self._stand_in and word != 'STAND-IN' else ''}{word}: {about or 'FCOS acceptance'}",
            "style": asset("style.css") + asset("charts.css"),
            "script": asset("script.js"),
            "stand_in": STAND_IN,
            "word": word,
            "headline": headline(document, self._stand_in),
            "where": _where(document),
            # two detectors have no promises
            "cards": ""
            if about
            else self._drawn("First screen", "first_screen", cards, document, reached, groups_of(listed)),
            "chapters": chapters,
            "images": self._jpegs.images,
        }
        return str(self._macro("base", "page")(run)).lstrip()

    def _chapters(self, listed: Mapping[str, Any]) -> Iterator[tuple[str, _Parts]]:
        """Everything that is there to be shown, in reading order. Verdicts are no evidence: if they cannot be drawn, nothing is."""
        document, evidence = self._document, self._evidence
        if changes := evidence.get(SINCE):
            yield "Since the last run", [[("", self._drawn("Since the last run", "since", dict, changes[-1][1]))]]
        if entries := evidence.get("pictures"):
            yield "Pictures", [[("", self._drawn("Pictures", "pictures", pictures, entries, self._jpegs))]]
        yield "Verdicts", [[("", self._macro("Verdicts", "verdicts")(listed))]]
        for chapter, kinds in _KINDS.items():
            parts = [self._by_subject(chapter, kind, kinds[kind]) for kind in kinds if kind in evidence]
            yield chapter, [part for part in parts if part]
        yield "Environment", [[("", self._drawn("Environment", "environment", dict, document))]]
        if document["artifacts"]:
            yield "Artifacts", [[("", self._drawn("Artifacts", "artifacts", dict, document))]]
        if "left_out" in evidence:
            yield "Left out", [[("", self._drawn("Left out", "left_out", list, evidence["left_out"]))]]

    def _by_subject(self, chapter: str, kind: str, prepare: Callable[[Any], Any]) -> list[tuple[str, Markup]]:
        """A kind of evidence, of every subject that has any."""
        drawn = [(subject, self._drawn(chapter, kind, prepare, data)) for subject, data in self._evidence[kind]]
        return [(subject, part) for subject, part in drawn if part]

    def _drawn(self, chapter: str, macro: str, prepare: Callable[..., Any], *data: Any) -> Markup:
        """What a macro makes of evidence; a sentence if the data is not what it should be, for the rest is worth reading."""
        try:
            prepared = prepare(*data)
            return self._macro(chapter, macro)(prepared) if prepared else Markup()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, TemplateError) as error:
            return self._macro("macros", "unreadable")(f"{type(error).__name__}: {str(error)[:200]}")

    def _macro(self, template: str, macro: str) -> Callable[[Any], Markup]:
        module = templates().get_template(f"{slug(template)}.html.j2").make_module({"stand_in": self._stand_in})
        made: Callable[[Any], Markup] = getattr(module, macro)
        return made


def _where(document: Mapping[str, Any]) -> str:
    """What ran where, and when, in a line; of a comparison, what was compared."""
    if facts := document["run"].get("facts"):
        return ", ".join(f"{name}: {value}" for name, value in facts)
    run, device = document["run"], document["environment"].get("device") or {}
    contracts = [artifact["provenance"].get("contract") for artifact in document["artifacts"]]
    models = {str(contract.get("name", "")) for contract in contracts if isinstance(contract, dict)}
    chip = f"{device.get('soc_version', 'no device')}{' (emulated)' if device.get('stand_in') else ''}"
    when = str(run.get("started_at", "at an unknown time")).replace("T", " ").replace("Z", " UTC")
    return f"{', '.join(sorted(models)) or 'unknown model'} on {chip}, {when}, exit status {run.get('exit_status', 'unknown')}"
