"""What did a run come to, for people? One HTML file from `results.json` alone, which needs nothing else to be read.

It opens from a mail: no request leaves it, which its content security policy enforces, and without scripts only copying and
enlarging are missing. Nothing is computed here; evidence that cannot be drawn says so and hides nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fcos_lib.evidence.page import accuracy, blame, boxes, machine, pictures, verdicts
from fcos_lib.evidence.page import accuracy as matrix
from fcos_lib.evidence.page.html import Markup, outcome, slug, tag, term, together
from fcos_lib.evidence.reading import has_stand_in, read_results

NAME = "evidence.html"
MOST_BYTES = 10 << 20
"""Of a page: what mail servers take."""
_FOR_PICTURES = 8 << 20
STAND_IN = "Measured on the emulator. It says nothing about hardware."
_WHOLE_EVIDENCE = Mapping[str, list[tuple[str, Mapping[str, Any]]]]
"""(subject, data) by kind, in the order of the file."""


def write_page_of(results: Path, output: Path) -> None:
    """Draw a stored run; `UsageError` if it is no `results.json`, `OSError` if the page cannot be written."""
    page = render(read_results(results))
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def render(document: Mapping[str, Any], room: int = _FOR_PICTURES) -> str:
    """The page of a run as `read_results` gives it, at most `MOST_BYTES` of UTF-8, at most `room` of them for pictures."""
    stand_in, found = has_stand_in(document), _by_kind(document)
    word = verdicts.word_of(document, stand_in)
    jpegs = pictures.Jpegs(room)
    sections = [*_sections(document, found, jpegs)]
    title = f"{'STAND-IN ' * (stand_in and word != 'STAND-IN')}{word}: FCOS acceptance"
    body = together(
        tag("a", "Skip to the verdicts", href="#verdicts", class_="skip"),
        _banner() if stand_in else None,
        tag("header", _header(document, found, word, stand_in), class_=slug(word)),
        _contents([name for name, _ in sections]),
        tag("main", [_section(name, content, stand_in) for name, content in sections]),
        tag("footer", "Made from results.json alone. Figures and verdicts are those of the run."),
        jpegs.definitions(),
        _dialog(stand_in),
        _watermark() if stand_in else None,
    )
    page = _document(title, body, "stand-in-run" if stand_in else "")
    excess = len(page.encode()) - MOST_BYTES
    if excess > 0 and room > 0:
        return render(document, max(room - excess - 1000, 0))
    if excess > 0 and any(one["kind"] != "left_out" for one in document["evidence"]):
        return render({**document, "evidence": _lighter(document["evidence"])}, room)
    return page


def _lighter(evidence: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Evidence without its largest entry, which is named instead."""
    largest = max(
        range(len(evidence)), key=lambda index: (evidence[index]["kind"] != "left_out", len(str(evidence[index])))
    )
    one = evidence[largest]
    text = f"{one['kind']}: it would make this page larger than {MOST_BYTES >> 20} MiB"
    return [
        *evidence[:largest],
        {"kind": "left_out", "subject": one["subject"], "data": {"text": text}},
        *evidence[largest + 1 :],
    ]


def _by_kind(document: Mapping[str, Any]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for entry in document["evidence"]:
        found.setdefault(entry["kind"], []).append((entry["subject"], entry["data"]))
    return found


def _header(document: Mapping[str, Any], found: _WHOLE_EVIDENCE, word: str, stand_in: bool) -> Markup:
    run, device = document["run"], document["environment"].get("device") or {}
    contracts = {
        str((one["provenance"].get("contract") or {}).get("name", ""))
        for one in document["artifacts"]
        if isinstance(one["provenance"].get("contract"), dict)
    }
    where = [
        ("model", ", ".join(sorted(contracts)) or "unknown"),
        ("device", f"{device.get('soc_version', 'none')}{' (emulated)' * bool(device.get('stand_in'))}"),
        ("CANN", str(device.get("cann_version", "–"))),
        ("driver", str(device.get("driver_version") or "–")),
        ("started", str(run.get("started_at", "unknown")).replace("T", " ").replace("Z", " UTC")),
        ("tests", f"{run.get('gates', '?')}, exit status {run.get('exit_status', 'unknown')}"),
    ]
    moved = _drawn(blame.first_screen, document, found)
    shows = "classes" in found or "ladder" in found
    return together(
        tag("p", "FCOS on Ascend: acceptance", class_="eyebrow"),
        tag("h1", outcome(word), tag("span", verdicts.headline(document, stand_in), class_="headline")),
        term(where, "where"),
        tag("div", tag("h2", "What moved"), moved, class_="moved") if shows else None,
    )


def _sections(
    document: Mapping[str, Any], found: _WHOLE_EVIDENCE, jpegs: pictures.Jpegs
) -> Iterator[tuple[str, Markup]]:
    """(name, content) of everything that is there to be shown, in reading order."""
    yield "Verdicts", verdicts.section(document)

    def each(kind: str, draw: Callable[[Mapping[str, Any]], Markup]) -> Markup:
        return _by_subject((subject, _drawn(draw, data)) for subject, data in found.get(kind, []))

    for name, kinds in (
        ("Stages", (("ladder", accuracy.ladder), ("error_types", accuracy.error_types))),
        ("Layers", (("layers", boxes.layers),)),
        ("Accuracy", (("classes", accuracy.classes), ("precision_recall", accuracy.precision_recall))),
    ):
        if any(kind in found for kind, _ in kinds):
            yield (
                name,
                tag("div", (tag("div", each(kind, draw)) for kind, draw in kinds if kind in found), class_="beside"),
            )
    if "pictures" in found:
        yield "Pictures", _drawn(pictures.section, found["pictures"], jpegs)
    if "scatter" in found or "levels" in found:
        levels = (_levels(found.get("levels", []), draw) for draw in (boxes.before_nms, boxes.shifts))
        parts = [tag("div", part) for part in (each("scatter", boxes.scatter), *levels) if part]
        yield "Scores and boxes", tag("div", parts, class_="beside")
    if "throughput" in found:
        yield "Throughput", together(each("throughput", machine.throughput))
    if "gateproof" in found:
        yield "Proof of the gates", together(each("gateproof", matrix.kill_matrix))
    yield "Environment", _drawn(machine.environment, document)
    if document["artifacts"]:
        yield "Artifacts", _drawn(machine.artifacts, document)
    if "left_out" in found:
        yield (
            "Left out",
            tag("ul", [tag("li", f"{subject}, {data.get('text', '')}") for subject, data in found["left_out"]]),
        )


def _levels(entries: list[tuple[str, Mapping[str, Any]]], draw: Callable[..., Markup | None]) -> Markup:
    """Each subject's levels, what several gates say of them together."""
    subjects = dict.fromkeys(subject for subject, _ in entries)
    parts = ((subject, _drawn(draw, [data for name, data in entries if name == subject])) for subject in subjects)
    return _by_subject((subject, part) for subject, part in parts if part)


def _by_subject(parts: Iterable[tuple[str, Markup]]) -> Markup:
    """The first subject's part, and those of all others folded."""
    found = list(parts)
    if len(found) == 1:
        return found[0][1]
    return together(
        tag("details", tag("summary", subject), part, class_="subject", open=place == 0)
        for place, (subject, part) in enumerate(found)
    )


def _drawn(draw: Callable[..., Markup | None], *data: Any) -> Markup:
    """What a function draws; a sentence if the data is not what it should be, for the rest of the page is worth reading."""
    try:
        return draw(*data) or Markup()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        return tag(
            "p", f"This evidence cannot be read: {type(error).__name__}: {str(error)[:200]}", class_="unreadable"
        )


def _section(name: str, content: Markup, stand_in: bool) -> Markup:
    mark = tag("span", "STAND-IN", class_="mark") if stand_in else None
    return tag(
        "section",
        tag("h2", name, mark, id=slug(name)),
        content,
        class_=f"part {slug(name)}",
        aria_labelledby=slug(name),
    )


def _contents(names: list[str]) -> Markup:
    links = [tag("li", tag("a", name, href=f"#{slug(name)}")) for name in names]
    return tag("nav", tag("ul", links), aria_label="Sections")


def _dialog(stand_in: bool) -> Markup:
    """Where the script enlarges pictures."""
    buttons = tag(
        "form",
        tag("button", "‹", type="button", value="-1", aria_label="Previous picture"),
        tag("button", "›", type="button", value="1", aria_label="Next picture"),
        tag("button", "Close", value="close"),
        method="dialog",
    )
    mark = tag("p", f"STAND-IN: {STAND_IN}", class_="stand-in-line") if stand_in else None
    return tag("dialog", buttons, mark, tag("div", class_="stage"), aria_label="Enlarged picture", id="enlarged")


def _banner() -> Markup:
    return tag("div", tag("strong", "STAND-IN"), " ", STAND_IN, class_="banner", role="region", aria_label="STAND-IN")


def _watermark() -> Markup:
    """Over all of the page and on every sheet of paper."""
    return tag("div", class_="watermark", aria_hidden="true")


def _document(title: str, body: Markup, kind: str) -> str:
    style, script = _asset("style.css"), _asset("script.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    page = tag("html", head, tag("body", body, tag("script", Markup(script)), class_=kind or None), lang="en")
    return f"<!doctype html>\n{page}\n"


@cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
