"""How fast was it, and on what did it run? Rates beside what was published and accepted; hashes of all that was tested."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fcos_lib.evidence.page.charts import Strip
from fcos_lib.evidence.page.html import (
    Markup,
    command,
    fixed,
    number,
    row,
    scrolling,
    table,
    tag,
    term,
    together,
    value_of,
)

_LARGEST_HISTORY = 2 << 20


def throughput(data: Mapping[str, Any]) -> Markup:
    """Every rate, what it has to live up to, and the history."""
    rates = list(data["rates"])
    history = data.get("history")
    return together(
        _rates(rates),
        _bounds([rate for rate in rates if any(rate.get(name) for name in ("published", "accepted", "champion"))]),
        _history(str(history)) if history and len(str(history)) < _LARGEST_HISTORY else None,
    )


def _rates(rates: Sequence[Mapping[str, Any]]) -> Markup:
    """A row for each batch size, a column for what was timed: a series is called `batch8 pure`."""
    found: dict[str, dict[str, str]] = {}
    for rate in rates:
        batch, _, timed = str(rate["series"]).partition(" ")
        found.setdefault(batch, {})[timed] = number(rate["images_per_second"])
    columns = list(dict.fromkeys(timed for of_batch in found.values() for timed in of_batch))
    rows = [row(batch, *(of_batch.get(timed, "–") for timed in columns)) for batch, of_batch in found.items()]
    return table("Images per second", ("OM", *columns), rows, "numbers")


def _bounds(rates: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Rates that something is known to compare with."""
    if not rates:
        return None
    rows = []
    for rate in rates:
        found, published = value_of(rate["images_per_second"]), value_of(rate.get("published"))
        accepted = rate.get("accepted")
        beside = (
            f"{number(published)} ({fixed(100 * (found / published - 1), 1, signed=True)} %)"
            if published and found
            else "–"
        )
        band = f"{number(accepted[0])} to {number(accepted[1])}" if accepted else "–"
        rows.append(row(str(rate["series"]), number(found), beside, band, _duel(rate.get("champion"))))
    header = ("series", "images/s", "published", "accepted", "against the champion")
    return table("What they have to live up to", header, rows, "numbers")


def _duel(champion: Mapping[str, Any] | None) -> Markup | str:
    if not champion:
        return "–"
    value, low, high = (value_of(champion.get(name)) for name in ("change", "low", "high"))
    words = f"{fixed(value, 2, signed=True)} % ({fixed(low, 2, signed=True)} to {fixed(high, 2, signed=True)})"
    strip = Strip.around_zero([value, low, high, 5.0], 120)
    return together(strip.interval(value or 0.0, low, high, words), " ", words)


def _history(svg: str) -> Markup:
    """As a picture of its own: what is drawn in an `img` can neither run nor fetch anything."""
    data = base64.b64encode(svg.encode()).decode()
    alt = "Throughput of all stored runs, a panel for each batch size"
    image = tag("img", src=Markup(f"data:image/svg+xml;base64,{data}"), alt=alt, class_="history")
    return tag("figure", scrolling(image, "Throughput history"))


def environment(document: Mapping[str, Any]) -> Markup:
    """The run, the device, the machine and its packages."""
    run, found = document["run"], document["environment"]
    device = found.get("device") or {}
    settings = [
        (name, _short(value)) for name, value in run.get("settings", {}).items() if value not in (None, "", [], False)
    ]
    rows: list[tuple[str, Any]] = [
        ("started", run.get("started_at", "unknown")),
        ("took", f"{number(run.get('seconds'))} s"),
        ("exit status", number(run.get("exit_status"))),
        ("python", found.get("python", "unknown")),
        ("platform", found.get("platform", "unknown")),
    ]
    packages = [(name, value or "not installed") for name, value in found.get("packages", {}).items()]
    return together(
        tag("p", "The whole run again:", class_="label"),
        command(shlex.join(map(str, run.get("command", [])))),
        tag(
            "div",
            _block("Run", term(rows)),
            _block("Device", term([(name.replace("_", " "), _short(value)) for name, value in device.items()])) if device else None,
            _block("Packages", term(packages)),
            _block("Options", term(settings)) if settings else None,
            class_="columns",
        ),
    )  # fmt: skip


def artifacts(document: Mapping[str, Any]) -> Markup:
    """What was tested: every file with its SHA-256, and what it was made from."""
    parts = []
    for one in document["artifacts"]:
        facts = one["provenance"]
        of = [str(facts[name]) for name in ("soc_version", "precision_mode") if facts.get(name)]
        of += [f"batch {facts['batch']}"] if facts.get("batch") else []
        files = [(name, tag("code", sha256)) for name, sha256 in one["files"].items()]
        parts.append(tag(
            "article",
            tag("h3", one["kind"], tag("span", ", ".join(of), class_="dim"), tag("span", "built in this run" if one.get("built") else "", class_="dim")),
            term([("key", tag("code", one["key"])), *files], "facts hashes"),
            tag("details", tag("summary", "What it was made from"), tag("pre", json.dumps(facts, indent=1, ensure_ascii=False), tabindex="0"), class_="quiet"),
            class_="artifact",
        ))  # fmt: skip
    return tag("div", parts, class_="artifact-list")


def _block(title: str, content: Markup) -> Markup:
    return tag("section", tag("h3", title), content)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
