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

from fcos_lib.evidence.page import figures
from fcos_lib.evidence.page.blame import first_screen
from fcos_lib.evidence.page.pictures import Jpegs, pictures
from fcos_lib.evidence.page.verdicts import headline, verdicts
from fcos_lib.evidence.page.words import asset, slug, templates
from fcos_lib.evidence.results import has_stand_in, read_results, word_of
from fcos_lib.files import write_whole

NAME = "evidence.html"
MOST_BYTES = 10 << 20
"""Of a page: what mail servers take."""
_FOR_PICTURES = 8 << 20
STAND_IN = "Measured on the emulator. It says nothing about hardware."
_KINDS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "Stages": {"ladder": figures.ladder, "error_types": figures.error_types},
    "Layers": {"layers": figures.layers},
    "Accuracy": {
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
    if excess > 0 and any(entry["kind"] != "left_out" for entry in document["evidence"]):
        return render({**document, "evidence": _lighter(document["evidence"])}, room)
    return page


def _lighter(evidence: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Evidence without its largest entry, which is named instead."""
    largest = max(evidence, key=lambda entry: (entry["kind"] != "left_out", len(str(entry))))
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
        self._evidence: _Evidence = evidence

    def html(self) -> str:
        """All of it."""
        document, word = self._document, word_of(self._document)
        shows = "classes" in self._evidence or "ladder" in self._evidence
        about = document["run"].get("about", "FCOS on Ascend: acceptance")
        run = {
            "about": about,
            "title": f"{'STAND-IN ' if self._stand_in and word != 'STAND-IN' else ''}{word}: {about}",
            "style": asset("style.css") + asset("charts.css"),
            "script": asset("script.js"),
            "stand_in": STAND_IN,
            "word": word,
            "headline": headline(document, self._stand_in),
            "where": _where(document),
            "moved": self._drawn("First screen", "first_screen", first_screen, document, self._evidence)
            if shows
            else "",
            "chapters": [(name, parts) for name, parts in self._chapters() if parts],
            "images": self._jpegs.images,
        }
        return str(self._macro("base", "page")(run)).lstrip()

    def _chapters(self) -> Iterator[tuple[str, _Parts]]:
        """Everything that is there to be shown, in reading order. Verdicts are no evidence: if they cannot be drawn, nothing is."""
        document, evidence = self._document, self._evidence
        yield "Verdicts", [[("", self._macro("Verdicts", "verdicts")(verdicts(document)))]]
        for chapter, kinds in _KINDS.items():
            parts = [self._by_subject(chapter, kind, kinds[kind]) for kind in kinds if kind in evidence]
            yield chapter, [part for part in parts if part]
            if chapter == "Accuracy" and "pictures" in evidence:
                entries = evidence["pictures"]
                yield "Pictures", [[("", self._drawn("Pictures", "pictures", pictures, entries, self._jpegs))]]
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


def _where(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ran where, and when; of a comparison, what was compared."""
    if facts := document["run"].get("facts"):
        return [(str(name), str(value)) for name, value in facts]
    run, device = document["run"], document["environment"].get("device") or {}
    contracts = [artifact["provenance"].get("contract") for artifact in document["artifacts"]]
    models = {str(contract.get("name", "")) for contract in contracts if isinstance(contract, dict)}
    return [
        ("model", ", ".join(sorted(models)) or "unknown"),
        ("device", f"{device.get('soc_version', 'none')}{' (emulated)' if device.get('stand_in') else ''}"),
        ("CANN", str(device.get("cann_version", "–"))),
        ("driver", str(device.get("driver_version") or "–")),
        ("started", str(run.get("started_at", "unknown")).replace("T", " ").replace("Z", " UTC")),
        ("tests", f"{run.get('gates', '?')}, exit status {run.get('exit_status', 'unknown')}"),
    ]
